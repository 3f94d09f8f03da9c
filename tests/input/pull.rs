//! The fetching side: from a server by hand that does what servers do, and from Icecast itself.

use crate::port::free_port;
use crate::programs::{Folder, Program, have, output, tone};
use crate::recorder::{Event, Recorder, impatient, noise, play, play_out, play_with, until};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, Timer};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};
use weir::driver::input::{InputOptions, InputState};

/// A server by hand: each connection is answered as the test says.
struct Server(Async<TcpListener>);

impl Server {
    fn new() -> Self {
        Self(Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).unwrap())
    }

    fn port(&self) -> u16 {
        self.0.get_ref().local_addr().unwrap().port()
    }

    /// Waits for a request; returns its head and the connection.
    async fn request(&self) -> (String, Async<TcpStream>) {
        let (mut stream, _) = self.0.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            head.push(byte[0]);
        }
        (String::from_utf8(head).unwrap(), stream)
    }

    /// Answers the next request and closes.
    async fn answer(&self, bytes: impl AsRef<[u8]>) -> String {
        let (head, mut stream) = self.request().await;
        stream.write_all(bytes.as_ref()).await.unwrap();
        head
    }
}

/// Pulls `path` from a server by hand.
fn pull<T>(path: &str, script: impl AsyncFnOnce(&Recorder, &Server) -> T) -> T {
    // The server must be made where it is used: under smol.
    let server = Server::new();
    let url = format!("http://me:p%40ss@127.0.0.1:{}{path}", server.port());
    play(&url, async |recorder| script(recorder, &server).await)
}

#[test]
fn a_stream_is_asked_for_and_introduced() {
    pull("/live?x=1", async |recorder, server| {
        let head = server
            .answer("HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\nicy-name: Radio\r\nicy-br: 64\r\nicy-genre: Talk\r\n\r\nmedia")
            .await;
        assert!(head.starts_with("GET /live?x=1 HTTP/1."), "{head}");
        let lower = head.to_ascii_lowercase();
        assert!(
            lower.contains(&format!("host: 127.0.0.1:{}\r\n", server.port())),
            "{head}"
        );
        assert!(lower.contains("icy-metadata: 1\r\n"), "{head}");
        // me:p@ss
        assert!(head.contains("Basic bWU6cEBzcw=="), "{head}");
        until(recorder, "the end", || {
            recorder.is_waiting_for("ended the stream")
        })
        .await;
        let events = recorder.events();
        let expected = [
            Event::ContentType("audio/mpeg".into()),
            Event::Info(r#"Some("Radio") Some("Talk") Some(64000)"#.into()),
            Event::State(InputState::Flowing),
            Event::Media(b"media".into()),
        ];
        assert_eq!(events[..4], expected, "{events:?}");
    });
}

/// `bytes` with a title after every `interval` bytes, as Icecast sends it.
fn with_titles(bytes: &[u8], interval: usize, mut title: impl FnMut(usize) -> String) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, run) in bytes.chunks(interval).enumerate() {
        out.extend_from_slice(run);
        if run.len() == interval {
            let title = title(i);
            let units = title.len().div_ceil(16);
            out.push(units as u8);
            out.extend_from_slice(title.as_bytes());
            out.resize(out.len() + units * 16 - title.len(), 0);
        }
    }
    out
}

/// The same in chunks of odd sizes.
fn chunked(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for run in bytes.chunks(997) {
        out.extend_from_slice(format!("{:x}\r\n", run.len()).as_bytes());
        out.extend_from_slice(run);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

#[test]
fn titles_are_taken_out_of_the_media() {
    let bytes = noise(50_000);
    let titles = [
        "StreamTitle='One';StreamUrl='';",
        "",
        "StreamTitle='It's two';",
        "",
    ];
    let body = with_titles(&bytes, 8_192, |i| {
        titles.get(i).copied().unwrap_or_default().into()
    });
    for (head, body) in [
        ("HTTP/1.0 200 OK\r\nicy-metaint: 8192\r\n\r\n", body.clone()),
        (
            "ICY 200 OK\r\nicy-metaint:8192\r\ncontent-type:audio/mpeg\r\n\r\n",
            body.clone(),
        ),
        (
            "HTTP/1.1 200 OK\r\nicy-metaint: 8192\r\nTransfer-Encoding: chunked\r\n\r\n",
            chunked(&body),
        ),
    ] {
        pull("/live", async |recorder, server| {
            server.answer([head.as_bytes(), &body].concat()).await;
            until(recorder, "the end", || {
                recorder.is_waiting_for("ended the stream")
            })
            .await;
            assert!(
                recorder.latest() == bytes,
                "{head}: {} bytes",
                recorder.latest().len()
            );
            assert_eq!(recorder.titles(), ["One", "It's two"]);
        });
    }
}

#[test]
fn redirects_are_followed_and_circles_left() {
    pull("/a/b", async |recorder, server| {
        let port = server.port();
        server
            .answer("HTTP/1.1 302 Found\r\nLocation: c\r\nContent-Length: 0\r\n\r\n")
            .await;
        let to = format!(
            "HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:{port}/d\r\nContent-Length: 0\r\n\r\n"
        );
        let head = server.answer(to).await;
        assert!(
            head.starts_with("GET /a/c ") && head.contains("Basic "),
            "{head}"
        );
        let head = server.answer("HTTP/1.1 200 OK\r\n\r\nmedia").await;
        assert!(
            head.starts_with("GET /d ") && head.contains("Basic "),
            "{head}"
        );
        until(recorder, "media", || recorder.latest() == b"media").await;
        for _ in 0..6 {
            server
                .answer("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")
                .await;
        }
        until(recorder, "tired", || recorder.is_waiting_for("in circles")).await;
    });
}

#[test]
fn a_redirect_to_tls_is_refused_at_the_start() {
    let server = Server::new();
    let url = format!("http://127.0.0.1:{}/", server.port());
    let recorder = Recorder::default();
    let answers = std::thread::spawn(move || {
        smol::block_on(server.answer(
            "HTTP/1.1 301 Moved\r\nLocation: https://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
        ))
    });
    let error = play_out(&url, &InputOptions::default(), &recorder)
        .unwrap_err()
        .to_string();
    answers.join().unwrap();
    assert!(
        error.contains("https://") && error.contains("ffmpeg"),
        "{error}"
    );
}

#[test]
fn what_goes_wrong_is_said_and_tried_again() {
    pull("/live", async |recorder, server| {
        let flood = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(40_000));
        let begin = Instant::now();
        for (answer, says) in [
            ("HTTP/1.1 404 Not Found\r\n\r\n", "404"),
            ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP"),
            ("", "without an answer"),
            (&flood, ""),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nrubbish\r\n",
                "chunked",
            ),
        ] {
            // The flood may meet a closed door.
            let (_, mut stream) = server.request().await;
            let _ = stream.write_all(answer.as_bytes()).await;
            drop(stream);
            let waits = || recorder.is_waiting_for(says);
            until(recorder, says, waits).await;
        }
        assert!(
            begin.elapsed() > Duration::from_millis(1_500),
            "no pauses: {:?}",
            begin.elapsed()
        );
        server.answer("HTTP/1.1 200 OK\r\n\r\none").await;
        until(recorder, "media", || recorder.latest() == b"one").await;
        server.answer("HTTP/1.1 200 OK\r\n\r\ntwo").await;
        until(recorder, "media", || recorder.latest() == b"two").await;
        assert_eq!(recorder.beginnings(), [b"one".to_vec(), b"two".to_vec()]);
    });
}

#[test]
fn a_silent_server_is_left() {
    let server = Server::new();
    let url = format!("http://127.0.0.1:{}/live", server.port());
    play_with(&url, &impatient(), async |recorder| {
        let (_, mut silent) = server.request().await;
        silent
            .write_all(b"HTTP/1.1 200 OK\r\n\r\nmedia")
            .await
            .unwrap();
        until(recorder, "media", || recorder.latest() == b"media").await;
        let begin = Instant::now();
        until(recorder, "left", || {
            recorder.is_waiting_for("sent nothing for 0.7 s")
        })
        .await;
        assert!(
            begin.elapsed() > Duration::from_millis(600),
            "{:?}",
            begin.elapsed()
        );
        server.answer("HTTP/1.1 200 OK\r\n\r\nagain").await;
        until(recorder, "media", || recorder.latest() == b"again").await;
        let (_, _mute) = server.request().await;
        until(recorder, "left", || {
            recorder.is_waiting_for("does not answer in time")
        })
        .await;
    });
}

#[test]
fn nobody_there_is_waited_for() {
    let port = free_port();
    play(&format!("http://localhost:{port}/live"), async |recorder| {
        until(recorder, "refused", || recorder.is_waiting_for("refused")).await;
        let late = Server(Async::<TcpListener>::bind(([127, 0, 0, 1], port)).unwrap());
        late.answer("HTTP/1.1 200 OK\r\n\r\nmedia").await;
        until(recorder, "media", || recorder.latest() == b"media").await;
    });
    play("http://no-such-host.invalid/live", async |recorder| {
        let waits = || matches!(recorder.state(), Some(InputState::Waiting(_)));
        until(recorder, "not found", waits).await;
    });
}

/// An Icecast of the test's own.
struct Icecast {
    folder: Folder,
    port: u16,
}

impl Icecast {
    fn new() -> Self {
        let (folder, port) = (Folder::new(), free_port());
        let owner = match rustix::process::geteuid().is_root() {
            true => "<changeowner><user>nobody</user><group>nogroup</group></changeowner>",
            false => "",
        };
        let at = folder.at("");
        let config = format!(
            "<icecast><limits><clients>20</clients><sources>4</sources><burst-size>0</burst-size></limits>\
             <authentication><source-password>pw</source-password><admin-user>admin</admin-user>\
             <admin-password>pw</admin-password></authentication><hostname>localhost</hostname>\
             <listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>\
             <paths><logdir>{at}</logdir><webroot>{at}</webroot><adminroot>{at}</adminroot></paths>\
             <logging><accesslog>-</accesslog><errorlog>-</errorlog><loglevel>3</loglevel></logging>\
             <security><chroot>0</chroot>{owner}</security></icecast>"
        );
        folder.write("icecast.xml", config.as_bytes());
        Self { folder, port }
    }

    async fn start(&self) -> Program {
        let icecast = Program::start("icecast2", &["-c", &self.folder.at("icecast.xml")]);
        let begin = Instant::now();
        while Async::<TcpStream>::connect(([127, 0, 0, 1], self.port))
            .await
            .is_err()
        {
            assert!(
                begin.elapsed() < Duration::from_secs(10),
                "icecast2 does not start"
            );
            Timer::after(Duration::from_millis(20)).await;
        }
        icecast
    }

    /// Pushes the file in real time.
    fn push(&self, file: &str) -> Program {
        let url = format!("icecast://source:pw@127.0.0.1:{}/live", self.port);
        let copy = [
            "-v",
            "error",
            "-re",
            "-stream_loop",
            "-1",
            "-i",
            file,
            "-c",
            "copy",
            "-f",
            "mp3",
        ];
        Program::start(
            "ffmpeg",
            &[
                &copy[..],
                &["-ice_name", "Weir One", "-content_type", "audio/mpeg", &url],
            ]
            .concat(),
        )
    }
}

#[test]
fn icecast_is_pulled_and_both_sides_may_be_killed() {
    if !have(&["icecast2", "ffmpeg", "curl"]) {
        return;
    }
    let icecast = Icecast::new();
    // A sweep, so that no second of it is like another.
    let bytes = tone(
        60,
        &[
            "-af",
            "aeval=val(0)*sin(t*t)",
            "-c:a",
            "libmp3lame",
            "-b:a",
            "128k",
            "-write_xing",
            "0",
            "-id3v2_version",
            "0",
            "-f",
            "mp3",
        ],
    );
    let file = icecast.folder.write("tone.mp3", &bytes);
    let inside = |media: &[u8]| bytes.windows(media.len()).any(|run| run == media);
    play(
        &format!("http://127.0.0.1:{}/live", icecast.port),
        async |recorder| {
            until(recorder, "refused", || recorder.is_waiting_for("refused")).await;
            let server = icecast.start().await;
            until(recorder, "no such mount yet", || {
                recorder.is_waiting_for("404")
            })
            .await;
            let encoder = icecast.push(&file);
            until(recorder, "media", || recorder.latest().len() > 20_000).await;
            let info =
                |event: &Event| matches!(event, Event::Info(info) if info.contains("Weir One"));
            assert!(
                recorder.has(&Event::ContentType("audio/mpeg".into()))
                    && recorder.events().iter().any(info)
            );

            let update = format!(
                "http://127.0.0.1:{}/admin/metadata?mode=updinfo&mount=/live&song=A+-+B",
                icecast.port
            );
            let out = output("curl", &["-sS", "-u", "admin:pw", &update]).await;
            assert!(out.status.success());
            until(recorder, "the title", || {
                recorder.titles().iter().any(|title| title == "A - B")
            })
            .await;
            assert!(
                inside(&recorder.latest()),
                "what came is not what was pushed"
            );

            // The encoder's end is the end of the mount.
            encoder.kill();
            until(recorder, "the end", || {
                matches!(recorder.state(), Some(InputState::Waiting(_)))
            })
            .await;
            let encoder = icecast.push(&file);
            until(recorder, "media", || {
                recorder.beginnings().len() == 2 && recorder.latest().len() > 10_000
            })
            .await;

            server.kill();
            until(recorder, "the end", || {
                matches!(recorder.state(), Some(InputState::Waiting(_)))
            })
            .await;
            drop(encoder);
            let _server = icecast.start().await;
            let _encoder = icecast.push(&file);
            until(recorder, "media", || {
                recorder.beginnings().len() == 3 && recorder.latest().len() > 10_000
            })
            .await;
            for media in recorder.beginnings() {
                assert!(inside(&media), "what came is not what was pushed");
            }
        },
    );
}
