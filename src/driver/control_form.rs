//! Control by way of the page: one POST with the token and a command.

use super::base32;
use super::control::{self, Command};
use super::reactor::Timer;
use super::reply::Client;
use super::view::Running;
use super::within::within;
use crate::http::request::{Framing, Request, query_decode, query_value};
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

/// Bytes of the form that follows a POST to `/control`, or with what status and words it is refused.
pub(super) fn judge(
    request: &Request<'_>,
    running: &Running,
) -> Result<usize, (u16, &'static str)> {
    if !running.control.is_on() {
        return Err((403, "control is off; --control-token FILE turns it on"));
    }
    if !same_origin(request) {
        return Err((403, "this does not come from this page"));
    }
    let is_form = request.content_type.is_some_and(|kind| {
        kind.split(';').next().unwrap_or("").trim() == "application/x-www-form-urlencoded"
    });
    let (Framing::Length(length), true) = (request.body, is_form) else {
        return Err((415, "a form is wanted, with its length"));
    };
    let length = usize::try_from(length).ok();
    let fits = length.filter(|length| *length <= MAX_BODY_BYTES);
    fits.ok_or((413, "that is too long"))
}

/// Reads the form, does what it says, and answers.
pub(super) async fn serve(
    client: &Client<'_>,
    body_bytes: usize,
    running: &Running,
) -> io::Result<()> {
    let mut body = [0; MAX_BODY_BYTES];
    let body = body.get_mut(..body_bytes).unwrap_or(&mut []);
    let mut stream = client.stream;
    within(BODY_LIMIT, stream.read_exact(body)).await?;
    let Ok(form) = core::str::from_utf8(body) else {
        return client.refuse(400, "that is no form").await;
    };
    if !field(form, "token", |token| running.control.allows(token)) {
        Timer::after(WRONG).await;
        log::warn!("http: {} said a wrong control token", client.from);
        return client.refuse(403, "this is not the token").await;
    }
    match command(form, running) {
        Ok(command) => {
            control::apply(&running.control, &running.engine, command);
            client.refuse(303, &command.to_string()).await
        }
        Err(why) => client.refuse(400, &why.to_string()).await,
    }
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
