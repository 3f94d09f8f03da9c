//! A sink that keeps everything it is given, and the way to run an input into it.

use smol::Timer;
use smol::future::FutureExt;
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};
use weir::driver::input::{
    Input, InputError, InputOptions, InputState, MediaTime, Sink, StreamInfo, run,
};
use weir::driver::reactor::block_on;

/// Everything an input said, in order. Media between two other events is one entry.
#[derive(Default)]
pub struct Recorder {
    events: RefCell<Vec<Event>>,
    largest: Cell<usize>,
    clock: Option<fn(u64) -> Option<u64>>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    ContentType(String),
    Info(String),
    Restarted,
    Title(String),
    Media(Vec<u8>),
    State(InputState),
}

impl Sink for Recorder {
    fn content_type_hint(&self, content_type: &str) {
        self.push(Event::ContentType(content_type.into()));
    }

    fn media(&self, bytes: &[u8]) {
        self.largest.set(self.largest.get().max(bytes.len()));
        let mut events = self.events.borrow_mut();
        match events.last_mut() {
            Some(Event::Media(media)) => media.extend_from_slice(bytes),
            _ => events.push(Event::Media(bytes.into())),
        }
    }

    fn restarted(&self) {
        self.push(Event::Restarted);
    }

    fn now_playing(&self, title: &str) {
        self.push(Event::Title(title.into()));
    }

    fn stream_info(&self, info: &StreamInfo<'_>) {
        self.push(Event::Info(format!(
            "{:?} {:?} {:?}",
            info.name, info.genre, info.bitrate_bps
        )));
    }

    fn state(&self, state: &InputState) {
        self.push(Event::State(state.clone()));
    }

    fn media_time(&self) -> Option<MediaTime> {
        let bytes = self.latest().len() as u64;
        let time_us = self.clock?(bytes)?;
        Some(MediaTime { time_us, bytes })
    }
}

impl Recorder {
    /// With what a container would tell: the media time after so many bytes since the last beginning.
    pub fn with_clock(clock: fn(u64) -> Option<u64>) -> Self {
        Self {
            clock: Some(clock),
            ..Self::default()
        }
    }

    fn push(&self, event: Event) {
        self.events.borrow_mut().push(event);
    }

    pub fn events(&self) -> Vec<Event> {
        self.events.borrow().clone()
    }

    /// The media since the last beginning.
    pub fn latest(&self) -> Vec<u8> {
        self.beginnings().pop().unwrap_or_default()
    }

    /// The media, one entry for each beginning.
    pub fn beginnings(&self) -> Vec<Vec<u8>> {
        let mut all = vec![Vec::new()];
        for event in self.events.borrow().iter() {
            match event {
                Event::Media(bytes) => all
                    .last_mut()
                    .expect("never empty")
                    .extend_from_slice(bytes),
                Event::Restarted => all.push(Vec::new()),
                _ => {}
            }
        }
        all
    }

    pub fn titles(&self) -> Vec<String> {
        let title = |event| {
            if let Event::Title(title) = event {
                Some(title)
            } else {
                None
            }
        };
        self.events().into_iter().filter_map(title).collect()
    }

    pub fn state(&self) -> Option<InputState> {
        let state = |event| {
            if let Event::State(state) = event {
                Some(state)
            } else {
                None
            }
        };
        self.events().into_iter().filter_map(state).next_back()
    }

    pub fn has(&self, event: &Event) -> bool {
        self.events.borrow().contains(event)
    }

    pub fn is_waiting_for(&self, words: &str) -> bool {
        matches!(self.state(), Some(InputState::Waiting(why)) if why.contains(words))
    }
}

/// Options for a test of what happens when nothing comes.
pub fn impatient() -> InputOptions {
    InputOptions {
        stall: Duration::from_millis(700),
        ..InputOptions::default()
    }
}

/// Runs the input until the script has seen what it wants.
pub fn play<T>(input: &str, script: impl AsyncFnOnce(&Recorder) -> T) -> T {
    play_with(input, &InputOptions::default(), script)
}

pub fn play_with<T>(
    input: &str,
    options: &InputOptions,
    script: impl AsyncFnOnce(&Recorder) -> T,
) -> T {
    let input: Input = input.parse().unwrap_or_else(|e| panic!("{e}"));
    let recorder = Recorder::default();
    let outcome = block_on(async {
        let running = async {
            let ended = run(&input, options, &recorder).await;
            panic!("the input ended: {ended:?}")
        };
        script(&recorder).or(running).await
    })
    .unwrap();
    check(&recorder);
    outcome
}

/// Runs an input that ends by itself.
pub fn play_out(
    input: &str,
    options: &InputOptions,
    recorder: &Recorder,
) -> Result<(), InputError> {
    let input: Input = input.parse().unwrap_or_else(|e| panic!("{e}"));
    let ended = block_on(async {
        let late = async {
            Timer::after(Duration::from_secs(20)).await;
            panic!("the input does not end")
        };
        run(&input, options, recorder).or(late).await
    })
    .unwrap();
    check(recorder);
    ended
}

fn check(recorder: &Recorder) {
    assert!(recorder.largest.get() <= weir::driver::input::MAX_READ_BYTES);
    for pair in recorder.events().windows(2) {
        if let [Event::State(a), Event::State(b)] = pair {
            assert_ne!(a, b, "a state is said once");
        }
    }
}

/// Waits until something holds; fails with what was seen if it does not in time.
pub async fn until(recorder: &Recorder, what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        if begin.elapsed() > Duration::from_secs(12) {
            let shown = recorder.events().into_iter().map(|event| match event {
                Event::Media(bytes) => format!("{} bytes", bytes.len()),
                other => format!("{other:?}"),
            });
            panic!(
                "not in time: {what}; seen: {:#?}",
                shown.collect::<Vec<_>>()
            );
        }
        Timer::after(Duration::from_millis(5)).await;
    }
}

/// Bytes that are all different enough for a loss or a swap to be seen.
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut rng = weir::rng::Rng::new(bytes as u64);
    (0..bytes).map(|_| rng.next_u64() as u8).collect()
}
