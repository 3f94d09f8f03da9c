//! Stands in for [`super::manager`] where no service manager wants to be told: procd asks nothing.

use super::view::Running;

/// See the module's own of the same name, as for the others.
pub fn ready() {}

/// See [`ready`].
pub fn stopping() {}

/// See [`ready`].
pub fn reloading() {}

/// See [`ready`].
pub async fn keep_informed(_: &Running) {}
