//! The Icecast server's side: by hand, with curl, and with ffmpeg.

use crate::port::free_port;
use crate::programs::{Folder, Program, have, output, tone};
use crate::recorder::{Event, Recorder, impatient, noise, play_out, play_with, until};
use smol::Async;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::fs::Permissions;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};
use weir::driver::input::{InputOptions, InputState};

/// `source:pw`, and a wrong one.
const RIGHT: &str = "Authorization: Basic c291cmNlOnB3\r\n";
const WRONG: &str = "Authorization: Basic c291cmNlOnB4\r\n";

/// Runs the input at a free port and waits until it listens.
fn serve<T>(script: impl AsyncFnOnce(&Recorder, u16) -> T) -> T {
    serve_with(&InputOptions::default(), script)
}

fn serve_with<T>(options: &InputOptions, script: impl AsyncFnOnce(&Recorder, u16) -> T) -> T {
    let port = free_port();
    play_with(
        &format!("icecast://source:pw@127.0.0.1:{port}/live"),
        options,
        async |recorder| {
            until(recorder, "listening", || {
                recorder.is_waiting_for("no encoder")
            })
            .await;
            script(recorder, port).await
        },
    )
}

async fn connect(port: u16) -> Async<TcpStream> {
    Async::<TcpStream>::connect(([127, 0, 0, 1], port))
        .await
        .unwrap()
}

async fn send(stream: &mut Async<TcpStream>, text: impl AsRef<[u8]>) {
    stream.write_all(text.as_ref()).await.unwrap();
}

/// Reads until what was read ends so.
async fn expect(stream: &mut Async<TcpStream>, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let mut byte = [0];
        stream
            .read_exact(&mut byte)
            .await
            .unwrap_or_else(|e| panic!("{e} after {:?}", String::from_utf8_lossy(&text)));
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

/// Sends a request and reads until the server closes.
async fn ask(port: u16, request: impl AsRef<[u8]>) -> String {
    let mut stream = connect(port).await;
    send(&mut stream, request).await;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[test]
fn put_with_expect_is_told_to_continue() {
    serve(async |recorder, port| {
        let mut stream = connect(port).await;
        let head = format!(
            "PUT /live HTTP/1.1\r\nHost: x\r\n{RIGHT}Expect: 100-continue\r\nContent-Type: application/ogg\r\n\
             ice-name: Weir One\r\nice-genre: Jazz\r\nice-bitrate: 128\r\n\r\n"
        );
        send(&mut stream, head).await;
        assert_eq!(
            expect(&mut stream, "\r\n\r\n").await,
            "HTTP/1.1 100 Continue\r\n\r\n"
        );
        let bytes = noise(100_000);
        send(&mut stream, &bytes).await;
        until(recorder, "the media", || recorder.latest() == bytes).await;
        assert!(recorder.has(&Event::ContentType("application/ogg".into())));
        assert!(recorder.has(&Event::Info(
            r#"Some("Weir One") Some("Jazz") Some(128000)"#.into()
        )));
        drop(stream);
        until(recorder, "the end", || recorder.is_waiting_for("went away")).await;
    });
}

#[test]
fn the_old_source_method_gets_its_old_answer() {
    serve(async |recorder, port| {
        let mut stream = connect(port).await;
        // Media right behind the head must not be lost.
        let head = format!(
            "SOURCE /live HTTP/1.0\r\n{RIGHT}content-type: audio/mpeg\r\nice-public: 0\r\n\r\nfirst "
        );
        send(&mut stream, head).await;
        assert_eq!(
            expect(&mut stream, "\r\n\r\n").await,
            "HTTP/1.0 200 OK\r\n\r\n"
        );
        send(&mut stream, "second").await;
        until(recorder, "the media", || {
            recorder.latest() == b"first second"
        })
        .await;
        assert!(recorder.has(&Event::ContentType("audio/mpeg".into())));
    });
}

#[test]
fn chunked_and_counted_bodies_are_unwrapped() {
    serve(async |recorder, port| {
        let head =
            format!("PUT /live HTTP/1.1\r\nHost: x\r\n{RIGHT}Transfer-Encoding: chunked\r\n\r\n");
        let answer = ask(port, head + "6\r\nfirst \r\n6;x=y\r\nsecond\r\n0\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert_eq!(recorder.latest(), b"first second");
        let head = format!("PUT /live HTTP/1.1\r\nHost: x\r\n{RIGHT}Content-Length: 5\r\n\r\n");
        let answer = ask(port, head + "third").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        until(recorder, "the second", || recorder.latest() == b"third").await;
        assert_eq!(recorder.beginnings().len(), 2);
    });
}

#[test]
fn who_may_not_push_is_told_why() {
    serve(async |recorder, port| {
        let cases = [
            (
                format!("PUT /live HTTP/1.1\r\nHost: x\r\n{WRONG}\r\n"),
                "401 ",
            ),
            ("PUT /live HTTP/1.1\r\nHost: x\r\n\r\n".into(), "401 "),
            (
                "SOURCE /live HTTP/1.0\r\nAuthorization: Basic %%%\r\n\r\n".into(),
                "401 ",
            ),
            (
                "SOURCE /live HTTP/1.0\r\nAuthorization: Digest x\r\n\r\n".into(),
                "401 ",
            ),
            (
                format!("PUT /other HTTP/1.1\r\nHost: x\r\n{RIGHT}\r\n"),
                "404 ",
            ),
            (
                format!("PUT /live/x HTTP/1.1\r\nHost: x\r\n{RIGHT}\r\n"),
                "404 ",
            ),
            ("GET /live HTTP/1.1\r\nHost: x\r\n\r\n".into(), "404 "),
            ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n".into(), "204 "),
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".into(), "404 "),
            (
                format!("GET /admin/listclients HTTP/1.1\r\nHost: x\r\n{RIGHT}\r\n"),
                "404 ",
            ),
            ("rubbish\r\n\r\n".into(), "400 "),
            (
                format!("PUT /live HTTP/1.1\r\nX: {}\r\n", "x".repeat(5_000)),
                "431 ",
            ),
        ];
        for (request, status) in cases {
            let answer = ask(port, &request).await;
            let first = answer.lines().next().unwrap_or_default();
            assert!(
                first.starts_with("HTTP/1.") && first.contains(status),
                "{request:?}: {answer}"
            );
            let challenges = answer
                .to_ascii_lowercase()
                .contains("www-authenticate: basic");
            assert_eq!(challenges, status == "401 ", "{answer}");
        }
        assert!(recorder.latest().is_empty() && recorder.is_waiting_for("no encoder"));
    });
}

#[test]
fn one_encoder_at_a_time_and_the_next_begins_anew() {
    serve(async |recorder, port| {
        let head = format!("PUT /live HTTP/1.1\r\nHost: x\r\n{RIGHT}Expect: 100-continue\r\n\r\n");
        let mut first = connect(port).await;
        send(&mut first, &head).await;
        expect(&mut first, "\r\n\r\n").await;
        send(&mut first, "one").await;
        until(recorder, "the first", || recorder.latest() == b"one").await;
        let refused = ask(port, &head).await;
        assert!(
            refused.contains("403 ") && refused.contains("Mountpoint in use"),
            "{refused}"
        );
        // The refused one has disturbed nothing.
        send(&mut first, " more").await;
        until(recorder, "the first", || recorder.latest() == b"one more").await;
        drop(first);
        until(recorder, "the end", || recorder.is_waiting_for("went away")).await;
        let mut second = connect(port).await;
        send(&mut second, &head).await;
        expect(&mut second, "\r\n\r\n").await;
        send(&mut second, "two").await;
        until(recorder, "the second", || recorder.latest() == b"two").await;
        assert_eq!(
            recorder.beginnings(),
            [b"one more".to_vec(), b"two".to_vec()]
        );
        assert_eq!(recorder.state(), Some(InputState::Flowing));
    });
}

#[test]
fn titles_come_at_any_time_from_who_may_send_them() {
    serve(async |recorder, port| {
        let update =
            |query: &str, who: &str| format!("GET /admin/metadata?{query} HTTP/1.0\r\n{who}\r\n");
        let song = "mode=updinfo&mount=/live&song=Caf%C3%A9+del+Mar";
        let answer = ask(port, update(song, RIGHT)).await;
        assert!(
            answer.contains("200 OK") && answer.contains("<return>1</return>"),
            "{answer}"
        );
        ask(
            port,
            update(
                "mount=%2Flive&mode=updinfo&charset=latin1&artist=Bj%F6rk&title=J%F3ga",
                RIGHT,
            ),
        )
        .await;
        for (query, who, status) in [
            (song, WRONG, "401"),
            (song, "", "401"),
            ("mode=updinfo&mount=/other&song=x", RIGHT, "404"),
            ("mode=updinfo&song=x", RIGHT, "404"),
            ("mode=other&mount=/live&song=x", RIGHT, "400"),
            ("mode=updinfo&mount=/live", RIGHT, "400"),
        ] {
            let answer = ask(port, update(query, who)).await;
            assert!(answer.contains(status), "{query}: {answer}");
        }
        assert_eq!(recorder.titles(), ["Café del Mar", "Björk - Jóga"]);
    });
}

#[test]
fn half_requests_do_not_keep_the_encoder_out() {
    serve(async |recorder, port| {
        let begin = Instant::now();
        let mut slow = Vec::new();
        for _ in 0..40 {
            let mut stream = connect(port).await;
            send(&mut stream, "PUT /live HTTP/1.1\r\nX").await;
            slow.push(stream);
        }
        drop(slow.split_off(8));
        let mut encoder = connect(port).await;
        send(
            &mut encoder,
            format!("SOURCE /live HTTP/1.0\r\n{RIGHT}\r\nmedia"),
        )
        .await;
        until(recorder, "the encoder", || recorder.latest() == b"media").await;
        assert!(
            begin.elapsed() < Duration::from_secs(8),
            "{:?}",
            begin.elapsed()
        );
    });
}

#[test]
fn a_silent_encoder_loses_its_place() {
    serve_with(&impatient(), async |recorder, port| {
        let mut encoder = connect(port).await;
        send(
            &mut encoder,
            format!("SOURCE /live HTTP/1.0\r\n{RIGHT}\r\nmedia"),
        )
        .await;
        until(recorder, "the encoder", || recorder.latest() == b"media").await;
        let begin = Instant::now();
        until(recorder, "dropped", || {
            recorder.is_waiting_for("sent nothing for 0.7 s")
        })
        .await;
        assert!(
            begin.elapsed() > Duration::from_millis(600),
            "{:?}",
            begin.elapsed()
        );
        let mut next = connect(port).await;
        send(
            &mut next,
            format!("SOURCE /live HTTP/1.0\r\n{RIGHT}\r\nagain"),
        )
        .await;
        until(recorder, "the next encoder", || {
            recorder.latest() == b"again"
        })
        .await;
    });
}

#[test]
fn broken_chunks_end_the_push_and_nothing_else() {
    serve(async |recorder, port| {
        let head =
            format!("PUT /live HTTP/1.1\r\nHost: x\r\n{RIGHT}Transfer-Encoding: chunked\r\n\r\n");
        for rubbish in ["zz\r\n", "fffffffffffffffffff\r\n", "3\r\nabcdef"] {
            let mut stream = connect(port).await;
            send(&mut stream, format!("{head}4\r\ngood\r\n{rubbish}")).await;
            let mut answer = Vec::new();
            // It may be reset, as we did not read everything.
            let _ = stream.read_to_end(&mut answer).await;
            until(recorder, "free again", || recorder.is_waiting_for("broke")).await;
            assert!(recorder.latest().starts_with(b"good"));
        }
    });
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let input = format!("icecast://source:hush@{at}/live");
    let error = play_out(&input, &InputOptions::default(), &Recorder::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&at) && error.contains("in use") && !error.contains("hush"),
        "{error}"
    );
}

/// A tone in an encoder's format, and what curl or ffmpeg say about it.
fn mp3(folder: &Folder) -> (String, Vec<u8>) {
    let bytes = tone(3, &["-c:a", "libmp3lame", "-b:a", "128k", "-f", "mp3"]);
    (folder.write("tone.mp3", &bytes), bytes)
}

#[test]
fn curl_pushes() {
    if !have(&["ffmpeg", "curl"]) {
        return;
    }
    let folder = Folder::new();
    let (file, bytes) = mp3(&folder);
    serve(async |recorder, port| {
        let url = format!("http://127.0.0.1:{port}/live");
        let common = ["-sS", "-i", "--max-time", "10", "-T", &file];
        let curl = async |args: &[&str]| {
            let out = output("curl", &[&common, args, &[&url]].concat()).await;
            (
                String::from_utf8_lossy(&out.stdout).into_owned(),
                String::from_utf8_lossy(&out.stderr).into_owned(),
            )
        };
        for args in [
            &["-u", "source:pw"][..],
            &["-u", "source:pw", "-H", "Expect: 100-continue"],
            &["-u", "source:pw", "-H", "Expect:"],
            &["-u", "source:pw", "-H", "Transfer-Encoding: chunked"],
            &[
                "-u",
                "source:pw",
                "-H",
                "Transfer-Encoding: chunked",
                "-H",
                "Expect:",
            ],
            &["-u", "source:pw", "-0"],
            &["-u", "source:pw", "-X", "SOURCE"],
        ] {
            let before = recorder.beginnings().len();
            let (answer, trouble) = curl(args).await;
            assert!(answer.contains("200 OK"), "{args:?}: {answer} {trouble}");
            until(recorder, "the end", || recorder.is_waiting_for("went away")).await;
            assert!(
                recorder.latest() == bytes,
                "{args:?}: {} bytes",
                recorder.latest().len()
            );
            let expected = before
                + usize::from(
                    !recorder.beginnings()[0].is_empty() && recorder.beginnings().len() > before,
                );
            assert_eq!(recorder.beginnings().len(), expected);
        }
        for args in [
            &["-u", "source:wrong"][..],
            &["-u", "source:wrong", "-H", "Expect:"],
            &["-u", "admin:pw"],
            &[],
        ] {
            let (answer, trouble) = curl(args).await;
            assert!(
                answer.contains("401 ") && trouble.is_empty(),
                "{args:?}: {answer} {trouble}"
            );
        }
    });
}

/// Pushes with ffmpeg and expects what the same ffmpeg writes to a file.
fn ffmpeg_pushes(codec: &[&str], push: &[&str], content_type: &str) {
    if !have(&["ffmpeg"]) {
        return;
    }
    let folder = Folder::new();
    let file = folder.write("tone", &tone(2, codec));
    let muxer = codec.last().unwrap();
    serve(async |recorder, port| {
        let copy = [
            "-v",
            "error",
            "-i",
            &file,
            "-c",
            "copy",
            "-bitexact",
            "-f",
            muxer,
        ];
        let expected = output("ffmpeg", &[&copy[..], &["-"]].concat()).await.stdout;
        let head = ["-content_type", content_type, "-ice_name", "Weir One"];
        let url = format!("icecast://source:pw@127.0.0.1:{port}/live");
        let out = output(
            "ffmpeg",
            &[&["-re"], &copy[..], &head, push, &[&url]].concat(),
        )
        .await;
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        until(recorder, "the end", || {
            matches!(recorder.state(), Some(InputState::Waiting(_)))
        })
        .await;
        let (got, all) = (recorder.latest(), expected.len());
        // The old way does not read our answer, and so its system breaks the connection off instead of closing it.
        let cut = if recorder.is_waiting_for("went away") {
            0
        } else {
            all / 10
        };
        assert!(
            all > 0 && expected.starts_with(&got) && got.len() >= all - cut,
            "{} of {all} bytes",
            got.len()
        );
        assert!(recorder.has(&Event::ContentType(content_type.into())));
        assert!(
            recorder
                .events()
                .iter()
                .any(|e| matches!(e, Event::Info(info) if info.contains("Weir One")))
        );
    });
}

#[test]
fn ffmpeg_is_told_that_its_password_is_wrong() {
    if !have(&["ffmpeg"]) {
        return;
    }
    serve(async |_, port| {
        let url = format!("icecast://source:wrong@127.0.0.1:{port}/live");
        let out = output(
            "ffmpeg",
            &[
                "-v",
                "error",
                "-f",
                "lavfi",
                "-i",
                "sine=duration=1",
                "-f",
                "mp3",
                &url,
            ],
        )
        .await;
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success() && said.contains("401"), "{said}");
    });
}

#[test]
fn ffmpeg_pushes_mp3() {
    ffmpeg_pushes(&["-c:a", "libmp3lame", "-f", "mp3"], &[], "audio/mpeg");
}

#[test]
fn ffmpeg_pushes_ogg() {
    ffmpeg_pushes(&["-c:a", "libopus", "-f", "ogg"], &[], "application/ogg");
}

#[test]
fn ffmpeg_pushes_the_old_way() {
    ffmpeg_pushes(
        &["-c:a", "libmp3lame", "-f", "mp3"],
        &["-legacy_icecast", "1"],
        "audio/mpeg",
    );
}

/// libshout asks for abilities first, then tries without a password, and sends titles beside the stream. mpd, Mixxx, ices
/// and many others push with it.
#[test]
fn libshout_pushes() {
    if !have(&["ffmpeg", "ezstream"]) {
        return;
    }
    let folder = Folder::new();
    let args = [
        "-metadata",
        "title=Hello",
        "-metadata",
        "artist=World",
        "-c:a",
        "libmp3lame",
        "-f",
        "mp3",
    ];
    let bytes = tone(2, &args);
    let file = folder.write("tone.mp3", &bytes);
    serve(async |recorder, port| {
        let config = format!(
            "<ezstream><servers><server><protocol>HTTP</protocol><hostname>127.0.0.1</hostname><port>{port}</port>\
             <user>source</user><password>pw</password><reconnect_attempts>1</reconnect_attempts></server></servers>\
             <streams><stream><mountpoint>/live</mountpoint><format>MP3</format><stream_name>Ez</stream_name>\
             <stream_genre>G</stream_genre><stream_bitrate>64</stream_bitrate></stream></streams>\
             <intakes><intake><type>file</type><filename>{file}</filename><stream_once>Yes</stream_once></intake>\
             </intakes></ezstream>"
        );
        let config = folder.write("ezstream.xml", config.as_bytes());
        // It refuses a file with a password that others may read.
        std::fs::set_permissions(&config, Permissions::from_mode(0o600)).unwrap();
        let out = output("ezstream", &["-c", &config]).await;
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        until(recorder, "the end", || recorder.is_waiting_for("went away")).await;
        assert!(recorder.has(&Event::Info(r#"Some("Ez") Some("G") Some(64000)"#.into())));
        assert_eq!(recorder.titles(), ["World - Hello"]);
        // It leaves out what is not audio, at the beginning and at the end.
        let got = recorder.latest();
        assert!(
            got.len() * 10 > bytes.len() * 9 && bytes.windows(got.len()).any(|run| run == got),
            "{}",
            got.len()
        );
    });
}

#[test]
fn an_encoder_that_is_killed_may_come_back() {
    if !have(&["ffmpeg"]) {
        return;
    }
    serve(async |recorder, port| {
        let url = format!("icecast://source:pw@127.0.0.1:{port}/live");
        let live = [
            "-v",
            "error",
            "-re",
            "-f",
            "lavfi",
            "-i",
            "sine",
            "-c:a",
            "libmp3lame",
            "-f",
            "mp3",
        ];
        let args = [&live[..], &["-content_type", "audio/mpeg", &url]].concat();
        for time in 1..=3 {
            let encoder = Program::start("ffmpeg", &args);
            until(recorder, "media", || {
                recorder.beginnings().len() == time && recorder.latest().len() > 5_000
            })
            .await;
            encoder.kill();
            until(recorder, "gone", || {
                matches!(recorder.state(), Some(InputState::Waiting(_)))
            })
            .await;
        }
    });
}
