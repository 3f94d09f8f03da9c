//! Datagrams: by hand, and from ffmpeg.

use crate::port::free_port;
use crate::programs::{Folder, Program, have, output, tone};
use crate::recorder::{Recorder, noise, play, play_out, until};
use smol::Timer;
use std::net::UdpSocket;
use std::time::Duration;
use weir::driver::input::{InputOptions, InputState};

#[test]
fn datagrams_pass_as_they_are() {
    for host in ["127.0.0.1", "[::1]"] {
        let at = format!("{host}:{}", free_port());
        play(&format!("udp://{at}"), async |recorder| {
            until(recorder, "waiting", || {
                recorder.is_waiting_for("no datagrams yet")
            })
            .await;
            let socket = UdpSocket::bind(format!("{host}:0")).unwrap();
            let bytes = noise(100_000);
            for datagram in bytes.chunks(1_316) {
                socket.send_to(datagram, &at).unwrap();
            }
            until(recorder, "all of it", || {
                recorder.latest().len() == bytes.len()
            })
            .await;
            assert_eq!(recorder.latest(), bytes);
            assert_eq!(recorder.state(), Some(InputState::Flowing));
        });
    }
}

#[test]
fn a_short_silence_is_said_and_a_long_one_is_a_new_beginning() {
    let at = format!("127.0.0.1:{}", free_port());
    play(&format!("udp://{at}"), async |recorder| {
        until(recorder, "waiting", || recorder.state().is_some()).await;
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let send =
            |text: &str| assert_eq!(socket.send_to(text.as_bytes(), &at).unwrap(), text.len());
        send("one ");
        until(recorder, "silence", || {
            recorder.state() == Some(InputState::Waiting("no datagrams".into()))
        })
        .await;
        send("two");
        until(recorder, "two", || recorder.latest() == b"one two").await;
        assert_eq!(recorder.state(), Some(InputState::Flowing));
        Timer::after(Duration::from_millis(10_100)).await;
        send("three");
        until(recorder, "three", || recorder.latest() == b"three").await;
        assert_eq!(
            recorder.beginnings(),
            [b"one two".to_vec(), b"three".to_vec()]
        );
    });
}

#[test]
fn what_cannot_be_bound_or_joined_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let cases = [
        (format!("udp://{at}"), at.as_str()),
        ("udp://239.1.1.1%nosuch0:5000".into(), "nosuch0"),
        ("udp://[ff15::1%nosuch0]:5000".into(), "nosuch0"),
        ("udp://192.0.2.77:5000".into(), "192.0.2.77:5000"),
    ];
    for (input, says) in cases {
        let error = play_out(&input, &InputOptions::default(), &Recorder::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(says), "{error}");
    }
}

/// Sends a transport stream with ffmpeg and expects every byte of it.
fn from_ffmpeg(input: &str, to: &str, muxer: &str) {
    if !have(&["ffmpeg"]) {
        return;
    }
    let ts = tone(1, &["-c:a", "mp2", "-b:a", "192k", "-f", "mpegts"]);
    let folder = Folder::new();
    let file = folder.write("tone.ts", &ts);
    play(input, async |recorder| {
        until(recorder, "waiting", || recorder.state().is_some()).await;
        // `-re`, so that the socket's buffer is not what is tested.
        let args = [
            "-v",
            "error",
            "-re",
            "-i",
            &file,
            "-c",
            "copy",
            "-bitexact",
            "-f",
            muxer,
            to,
        ];
        let out = output("ffmpeg", &args).await;
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        let expected = remuxed(&file).await;
        until(recorder, "the whole stream", || {
            recorder.latest().len() >= expected.len()
        })
        .await;
        assert_eq!(recorder.latest().len(), expected.len());
        assert!(recorder.latest() == expected, "the bytes differ");
    });
}

/// What the same ffmpeg writes into a file.
async fn remuxed(file: &str) -> Vec<u8> {
    let out = output(
        "ffmpeg",
        &[
            "-v",
            "error",
            "-i",
            file,
            "-c",
            "copy",
            "-bitexact",
            "-f",
            "mpegts",
            "-",
        ],
    )
    .await;
    assert!(out.status.success());
    out.stdout
}

#[test]
fn ffmpeg_unicast() {
    let at = format!("udp://127.0.0.1:{}", free_port());
    from_ffmpeg(&at, &format!("{at}?pkt_size=1316"), "mpegts");
}

#[test]
fn ffmpeg_multicast_v4() {
    let port = free_port();
    from_ffmpeg(
        &format!("udp://@239.77.1.1%lo:{port}"),
        &format!("udp://239.77.1.1:{port}?pkt_size=1316&localaddr=127.0.0.1"),
        "mpegts",
    );
}

#[test]
fn multicast_v6() {
    let Some(interface) = v6_interface() else {
        eprintln!("skipped: no interface for IPv6 multicast");
        return;
    };
    let port = free_port();
    // Interface-local scope and no hops: nothing leaves this machine.
    play(
        &format!("udp://[ff11::77%{interface}]:{port}"),
        async |recorder| {
            until(recorder, "waiting", || recorder.state().is_some()).await;
            let socket =
                socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None).unwrap();
            let index = rustix::net::netdevice::name_to_index(&socket, &interface).unwrap();
            socket.set_multicast_if_v6(index).unwrap();
            socket.set_multicast_hops_v6(0).unwrap();
            let socket = UdpSocket::from(socket);
            let bytes = noise(20_000);
            for datagram in bytes.chunks(1_000) {
                socket
                    .send_to(datagram, format!("[ff11::77]:{port}"))
                    .unwrap();
            }
            until(recorder, "all of it", || recorder.latest() == bytes).await;
        },
    );
}

/// An interface that is up, has an IPv6 address and carries multicast; the loopback does not.
fn v6_interface() -> Option<String> {
    const UP_AND_MULTICAST: u32 = 0x1 | 0x1000;
    let table = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    let mut names = table
        .lines()
        .filter_map(|line| line.split_whitespace().last());
    let carries = |name: &str| {
        let flags = std::fs::read_to_string(format!("/sys/class/net/{name}/flags")).ok()?;
        let flags = u32::from_str_radix(flags.trim().strip_prefix("0x")?, 16).ok()?;
        (flags & UP_AND_MULTICAST == UP_AND_MULTICAST).then_some(())
    };
    names.find(|name| carries(name).is_some()).map(String::from)
}

#[test]
fn ffmpeg_rtp() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let mp2 = tone(1, &["-c:a", "mp2", "-b:a", "192k", "-f", "mp2"]);
    let folder = Folder::new();
    let file = folder.write("tone.mp2", &mp2);
    let at = format!("rtp://127.0.0.1:{}", free_port());
    play(&at, async |recorder| {
        until(recorder, "waiting", || recorder.state().is_some()).await;
        let to = format!("{at}?pkt_size=1316");
        let out = output(
            "ffmpeg",
            &[
                "-v",
                "error",
                "-re",
                "-i",
                &file,
                "-c",
                "copy",
                "-f",
                "rtp_mpegts",
                &to,
            ],
        )
        .await;
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        until(recorder, "silence", || {
            recorder.is_waiting_for("no datagrams")
        })
        .await;
        // The muxer sets its tables as it likes, so what was in the transport stream is compared.
        let received = folder.write("received.ts", &recorder.latest());
        let out = output(
            "ffmpeg",
            &[
                "-v", "error", "-f", "mpegts", "-i", &received, "-c", "copy", "-f", "mp2", "-",
            ],
        )
        .await;
        // ffmpeg itself keeps the last packets of a transport stream that fill no RTP packet.
        let (got, all) = (out.stdout.len(), mp2.len());
        assert!(
            mp2.starts_with(&out.stdout) && got * 10 > all * 9,
            "{got} of {all} bytes"
        );
    });
}

#[test]
fn a_sender_that_is_killed_may_come_back() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let at = format!("udp://127.0.0.1:{}", free_port());
    play(&at, async |recorder| {
        let to = format!("{at}?pkt_size=1316");
        let args = [
            "-v", "error", "-re", "-f", "lavfi", "-i", "sine", "-c:a", "mp2", "-f", "mpegts", &to,
        ];
        for bytes in [10_000, 30_000] {
            let sender = Program::start("ffmpeg", &args);
            until(recorder, "media", || recorder.latest().len() > bytes).await;
            sender.kill();
        }
        assert!(
            recorder
                .latest()
                .chunks_exact(188)
                .all(|packet| packet[0] == 0x47)
        );
    });
}
