//! Control by way of the page: one POST with the token and a command.

use super::base32;
use super::control::{self, Command};
use super::reactor::Timer;
use super::server::{Client, refuse};
use super::view::Running;
use super::within::within;
use crate::http::request::{Framing, Method, Request, query_decode, query_value};
use crate::http::route::same_origin;
use core::time::Duration;
use smol::io::AsyncReadExt;
use std::io;
use std::string::ToString;

/// A token, a command and its argument, percent-encoded.
const MAX_BODY_BYTES: usize = 1_024;

/// How long the body may take.
const BODY_LIMIT: Duration = Duration::from_secs(5);

/// How long a wrong token waits for its answer: guessing takes for ever.
const WRONG: Duration = Duration::from_millis(500);

/// Longest value of a field.
const MAX_VALUE_BYTES: usize = 256;

/// Answers a POST to `/control`; `begun` is what came of the body with the head.
pub(super) async fn serve(
    client: &Client<'_>,
    request: &Request<'_>,
    begun: &[u8],
    running: &Running,
) -> io::Result<()> {
    let say = |status, text| refuse_text(client, status, text);
    if !running.control.is_on() {
        return say(403, "control is off; --control-token FILE turns it on").await;
    }
    if !same_origin(request) {
        return say(403, "this does not come from this page").await;
    }
    let is_form = request.content_type.is_some_and(|kind| {
        kind.split(';').next().unwrap_or("").trim() == "application/x-www-form-urlencoded"
    });
    let (Framing::Length(length), true) = (request.body, is_form) else {
        return say(415, "a form is wanted, with its length").await;
    };
    let mut body = [0; MAX_BODY_BYTES];
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let Some(body) = body.get_mut(..length) else {
        return say(413, "that is too long").await;
    };
    let begun = begun.get(..length).unwrap_or(begun);
    let (there, rest) = body.split_at_mut(begun.len());
    there.copy_from_slice(begun);
    let mut stream = client.stream;
    within(BODY_LIMIT, stream.read_exact(rest)).await?;
    let Ok(form) = core::str::from_utf8(body) else {
        return say(400, "that is no form").await;
    };
    if !field(form, "token", |token| running.control.allows(token)) {
        Timer::after(WRONG).await;
        log::warn!("http: {} said a wrong control token", client.from);
        return say(403, "this is not the token").await;
    }
    match command(form, running) {
        Ok(command) => {
            control::apply(&running.control, &running.engine, command);
            say(303, &command.to_string()).await
        }
        Err(why) => say(400, &why.to_string()).await,
    }
}

async fn refuse_text(client: &Client<'_>, status: u16, text: &str) -> io::Result<()> {
    refuse(client.stream, Method::Post, status, text).await
}

fn command(form: &str, running: &Running) -> Result<Command, control::NotACommand> {
    let find = |key: &str| running.engine.find(&base32::decode_key(key)?);
    let verb = query_value(form, "do").unwrap_or("");
    let argument = match verb {
        "pause" => "for",
        "limit" => "limit",
        "stop" | "start" => "stream",
        _ => "",
    };
    field(form, argument, |argument| {
        Command::parse(verb, argument, find)
    })
}

/// Gives `read` the decoded value of a field, or the empty text.
fn field<T>(form: &str, name: &str, read: impl FnOnce(&str) -> T) -> T {
    let mut room = [0; MAX_VALUE_BYTES];
    let value = query_value(form, name).and_then(|value| query_decode(value, &mut room));
    read(value.unwrap_or(""))
}
