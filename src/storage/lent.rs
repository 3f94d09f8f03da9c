//! Memory that is lent for as long as there is use for it: all zero at first and after each return, so that whoever lends
//! it need not hold a page that nobody has written to.

use bytemuck::Zeroable;

/// A run of entries, borrowed from outside.
pub trait Lent<T> {
    /// The entries.
    fn all(&self) -> &[T];
    /// The entries, to write.
    fn all_mut(&mut self) -> &mut [T];
    /// What is in them is of no more use: they are all zero afterwards, and their memory may have gone back to the
    /// system until they are written to again.
    fn give_back(&mut self);
}

/// Entries that are here for good; only their content goes.
impl<T: Copy + Zeroable> Lent<T> for &mut [T] {
    fn all(&self) -> &[T] {
        self
    }

    fn all_mut(&mut self) -> &mut [T] {
        self
    }

    fn give_back(&mut self) {
        self.fill(T::zeroed());
    }
}
