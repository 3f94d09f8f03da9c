//! The way from a live input to the sink: says what changed once, and marks every new beginning.

use super::{InputState, MediaTime, Sink, StreamInfo};
use core::cell::{Cell, RefCell};
use std::string::String;

/// A sink, and what it was told last.
pub(super) struct Feed<'a, S: Sink> {
    sink: &'a S,
    /// Whether media came since the last beginning.
    used: Cell<bool>,
    state: RefCell<Option<InputState>>,
}

impl<'a, S: Sink> Feed<'a, S> {
    pub fn new(sink: &'a S) -> Self {
        Self {
            sink,
            used: Cell::new(false),
            state: RefCell::new(None),
        }
    }

    /// A connection is made: what follows does not continue what was before. Returns whether anything was.
    pub fn begin(&self) -> bool {
        let used = self.used.replace(false);
        if used {
            self.sink.restarted();
        }
        used
    }

    /// What the other side says about the stream that begins.
    pub fn introduce(&self, content_type: Option<&str>, info: &StreamInfo<'_>) {
        if let Some(content_type) = content_type {
            self.sink.content_type_hint(content_type);
        }
        if *info != StreamInfo::default() {
            self.sink.stream_info(info);
        }
    }

    pub fn media(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.used.set(true);
        self.enter(InputState::Flowing);
        self.sink.media(bytes);
    }

    /// Whether media came since the last beginning.
    pub fn flowed(&self) -> bool {
        self.used.get()
    }

    pub fn now_playing(&self, title: &str) {
        self.sink.now_playing(title);
    }

    pub fn waiting(&self, why: impl Into<String>) {
        self.enter(InputState::Waiting(why.into()));
    }

    pub fn ended(&self) {
        self.enter(InputState::Ended);
    }

    pub fn media_time(&self) -> Option<MediaTime> {
        self.sink.media_time()
    }

    fn enter(&self, state: InputState) {
        if self.state.borrow().as_ref() == Some(&state) {
            return;
        }
        self.sink.state(&state);
        self.state.replace(Some(state));
    }
}
