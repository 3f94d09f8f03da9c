#!/usr/bin/env python3
"""Every encoder of ffmpeg in every container that takes it, sent in real time, joined at random times by players at the
source and behind two relays. Run by hand (it takes half an hour); what a player says beside media goes to
standard output, and the exit status is the number of combinations with complaints.

    cargo build && tests/players/matrix.py [--only REGEX] [--joins 4] [--at-once 3] [--players ffmpeg,ffprobe,mpv,vlc]
"""
import argparse
import concurrent.futures
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

X264 = "libx264 -preset ultrafast -g 25"
VIDEO = {
    "h264": X264,
    "h264-b": "libx264 -preset medium -g 25 -bf 3",
    "h264-2s": "libx264 -preset ultrafast -g 50",
    "h264-4s": "libx264 -preset ultrafast -g 100",
    "vp8-4s": "libvpx -deadline realtime -cpu-used 8 -g 100",
    "h264-open": "libx264 -preset medium -x264-params keyint=25:open-gop=1:bframes=3",
    "hevc": "libx265 -preset ultrafast -x265-params keyint=25:log-level=none",
    "mpeg1": "mpeg1video -g 15 -bf 2",
    "mpeg2": "mpeg2video -g 15 -bf 2",
    "mpeg4": "mpeg4 -g 25",
    "xvid": "libxvid -g 25",
    "theora": "libtheora -b:v 200k -g 25",
    "vp8": "libvpx -deadline realtime -cpu-used 8 -g 25",
    "vp9": "libvpx-vp9 -deadline realtime -cpu-used 8 -g 25",
    "svtav1": "libsvtav1 -preset 12",
    "svtav1-g25": "libsvtav1 -preset 12 -g 25",
    "aomav1": "libaom-av1 -usage realtime -cpu-used 8 -g 25",
    "rav1e": "librav1e -speed 10 -g 25",
    "wmv1": "wmv1 -g 25 -b:v 200k",
    "wmv2": "wmv2 -g 25 -b:v 200k",
    "msmpeg4": "msmpeg4 -g 25",
    "msmpeg4v2": "msmpeg4v2 -g 25",
    "mjpeg": "mjpeg -pix_fmt yuvj420p",
    "ffv1": "ffv1 -level 3 -g 1",
    "flv1": "flv -g 25",
    "h263p": "h263p -g 25 -s 176x144",
    "huffyuv": "huffyuv -pix_fmt yuv422p",
    "prores": "prores -pix_fmt yuv422p10le",
    "snow": "snow -g 25",
    "png": "png -pix_fmt rgb24",
}
AUDIO = {
    "aac": "aac",
    "mp3": "libmp3lame -b:a 128k",
    "shine": "libshine -b:a 128k",
    "mp2": "mp2 -b:a 192k",
    "twolame": "libtwolame -b:a 192k",
    "vorbis": "libvorbis",
    "vorbis-own": "vorbis -strict -2",
    "opus": "libopus -b:a 64k",
    "opus-own": "opus -strict -2 -b:a 96k",
    "flac": "flac",
    "flac24": "flac -sample_fmt s32 -ar 96000",
    "flac192": "flac -sample_fmt s32 -ar 192000",
    "speex": "libspeex -ar 16000 -ac 1",
    "ac3": "ac3",
    "ac3-fixed": "ac3_fixed",
    "eac3": "eac3",
    "dca": "dca -strict -2",
    "truehd": "truehd -strict -2",
    "mlp": "mlp -strict -2",
    "s302m": "s302m -strict -2 -ar 48000",
    "alac": "alac",
    "tta": "tta",
    "wavpack": "wavpack",
    "wmav1": "wmav1 -b:a 128k",
    "wmav2": "wmav2 -b:a 128k",
    "s16": "pcm_s16le",
    "s24": "pcm_s24le",
    "s24-96k": "pcm_s24le -ar 96000",
    "s32": "pcm_s32le",
    "s16be": "pcm_s16be",
    "u8": "pcm_u8",
    "f32": "pcm_f32le",
    "f64": "pcm_f64le",
    "alaw": "pcm_alaw",
    "mulaw": "pcm_mulaw",
    "adpcm-ima": "adpcm_ima_wav",
    "adpcm-ms": "adpcm_ms",
    "gsm-ms": "libgsm_ms -ar 8000 -ac 1 -b:a 13000",
}
# Container: its muxers with their options, and the video+audio it is tried with.
KINDS = [
    ("mp3", {"mp3": "-f mp3"}, "+mp3 +shine"),
    ("mp2", {"mp2": "-f mp2"}, "+mp2 +twolame"),
    ("adts", {"adts": "-f adts"}, "+aac"),
    ("ogg", {"ogg": "-f ogg", "ogg-200ms": "-f ogg -page_duration 200000"},
     "+vorbis +vorbis-own +opus +opus-own +flac +speex theora+vorbis theora+opus theora+flac theora vp8+vorbis vp8+opus"),
    ("flac", {"flac": "-f flac"}, "+flac +flac24 +flac192"),
    ("wav", {"wav": "-f wav", "rf64": "-f wav -rf64 always"},
     "+s16 +s24 +s24-96k +s32 +u8 +f32 +f64 +alaw +mulaw"),
    ("wav", {"wav": "-f wav"}, "+adpcm-ima +adpcm-ms +gsm-ms"),
    ("ts", {"ts": "-f mpegts"},
     "h264+aac h264-b+mp3 h264-open+aac hevc+ac3 mpeg1+mp2 mpeg2+mp2 mpeg2+ac3 mpeg4+mp3 xvid+twolame h264+eac3 h264+ac3-fixed"
     " h264+opus h264+dca h264+s302m h264+truehd h264 +aac +mp3 +mp2 +ac3 +eac3 +opus +dca +s302m +shine"),
    ("ts", {"ts-latm": "-f mpegts -mpegts_flags latm", "ts-m2ts": "-f mpegts -mpegts_m2ts_mode 0 -pat_period 2 -sdt_period 2",
            "ts-pat": "-f mpegts -mpegts_flags pat_pmt_at_frames"}, "h264+aac +aac"),
    ("mp4", {"mp4": "-f mp4 -movflags empty_moov+frag_keyframe+default_base_moof"},
     "h264+aac h264-b+mp3 h264-open+aac mpeg4+aac vp9+opus svtav1+aac aomav1+opus rav1e+flac h264+alac h264+vorbis h264"),
    ("mp4", {"mp4": "-f mp4 -movflags delay_moov+frag_keyframe+default_base_moof"}, "hevc+ac3 xvid+eac3"),
    ("mp4", {"mp4-abs": "-f mp4 -movflags empty_moov+frag_keyframe",
             "mp4-sep": "-f mp4 -movflags empty_moov+frag_keyframe+separate_moof",
             "mp4-sepd": "-f mp4 -movflags empty_moov+frag_keyframe+separate_moof+default_base_moof",
             "mp4-omit": "-f mp4 -movflags empty_moov+frag_keyframe+omit_tfhd_offset",
             "mp4-cmaf": "-f mp4 -movflags cmaf+frag_keyframe",
             "mp4-dash": "-f mp4 -movflags dash+frag_keyframe",
             "mp4-delay": "-f mp4 -movflags delay_moov+frag_keyframe",
             "mp4-full": "-f mp4 -movflags frag_keyframe",
             "mp4-500ms": "-f mp4 -movflags empty_moov -frag_duration 500000",
             "mp4-every": "-f mp4 -movflags empty_moov+default_base_moof+frag_every_frame",
             "mov": "-f mov -movflags empty_moov+frag_keyframe",
             "ismv": "-f ismv"},
     "h264-b+aac"),
    ("mp4", {"mp4": "-f mp4 -movflags empty_moov+default_base_moof -frag_duration 250000",
             "mp4-abs": "-f mp4 -movflags empty_moov -frag_duration 250000"},
     "+aac +mp3 +opus +flac +alac"),
    # Nothing for seconds, and then all of them at once.
    ("mp4", {"mp4": "-f mp4 -movflags empty_moov+frag_keyframe+default_base_moof"}, "h264-2s+aac h264-4s+aac"),
    ("webm", {"webm": "-f webm"}, "vp8-4s+opus"),
    ("mkv", {"mkv": "-f matroska"}, "h264-4s+aac"),
    ("webm", {"webm": "-f webm", "webm-live": "-f webm -live 1", "webm-1s": "-f webm -cluster_time_limit 1000"},
     "vp8+vorbis vp9+opus svtav1+opus svtav1-g25+opus aomav1+opus rav1e+vorbis vp8 +opus +vorbis"),
    ("mkv", {"mkv": "-f matroska"},
     "h264+aac h264-b+mp3 h264-open+aac hevc+ac3 mpeg1+mp2 mpeg2+mp2 mpeg4+mp3 xvid+eac3 theora+flac vp8+vorbis vp9+opus"
     " svtav1+aac wmv1+wmav1 wmv2+wmav2 msmpeg4+mp3 msmpeg4v2+mp3 mjpeg+s16 ffv1+flac flv1+mp3 h263p+mp3 huffyuv+s16 prores+s24"
     " snow+vorbis png+s16 +aac +mp3 +vorbis +opus +flac +flac24 +flac192 +ac3 +eac3 +dca +truehd +mlp +tta +wavpack +alac"
     " +s16 +s24 +s24-96k +s32 +s16be +f32 +f64"),
    ("mkv", {"mkv-live": "-f matroska -live 1 -cluster_time_limit 500"}, "h264+aac h264-b+mp3 +s24 +flac"),
    ("asf", {"asf": "-f asf -packet_size 3200", "asf-stream": "-f asf_stream"},
     "wmv1+wmav1 wmv2+wmav2 msmpeg4+mp3 msmpeg4v2+mp3 mpeg4+mp3 h264+aac +wmav1 +wmav2 +mp3 +ac3"),
    ("raw", {"flv": "-f flv"}, "h264+aac flv1+mp3"),
    ("raw", {"avi": "-f avi"}, "mpeg4+mp3"),
]
# What these players say of any such stream, from any server, or of a machine without a screen.
USUAL = re.compile(
    r"dbus|pulse|interface|Ignoring maximum wav data size|Fragment sequence discontinuity|cannot find any cluster|"
    r"TS discontinuity .*(pid 0|PAT|PMT)"
)
# What they say of one kind of stream alone, from any server and of a file: the combination, and the line.
OF_ITS_KIND = [
    # Time is counted from the end of the first page.
    (r"^ogg.*flac", r"Invalid audio PTS|^ffprobe .*: [12] frames, exit status 0"),
    # The muxer marks every picture as a key frame.
    (r"h263p", r"first frame is no keyframe"),
    # There is no other key frame than the first.
    (r"h264-open", r"mmco: unref short failure"),
    # Two seconds are two frames.
    (r"tta", r"^ffprobe .*: 2 frames, exit status 0"),
    # mpv opens it once it has five megabytes.
    (r"s302m", r"^mpv .*: played \[\] to \[\]"),
    # Raw: whoever was not there from the beginning cannot read it.
    (r"^(flv|avi)-", r""),
]
LENGTH_S = 70
ENCODING = threading.Lock()


def combinations():
    for container, muxers, pairs in KINDS:
        for muxer, options in muxers.items():
            for pair in pairs.split():
                video, _, audio = pair.partition("+")
                yield f"{muxer}-{pair}", container, options, video, audio


def encode(workshop, video, audio):
    """A file with both, in the first container that takes them; made once."""
    name = os.path.join(workshop, f"{video}+{audio}")
    if os.path.exists(name):
        return name
    # Pictures have their parameters in the stream, as transport streams need them; other muxers find them there.
    inputs, codecs = [], ["-flags:v", "-global_header", "-flags:a", "+global_header"]
    if video:
        inputs += ["-f", "lavfi", "-i", "testsrc=size=160x120:rate=25"]
        codecs += ["-pix_fmt", "yuv420p", "-c:v", *VIDEO[video].split()]
    if audio:
        sound = "aevalsrc='0.3*sin(300*t*(1+t/9))+0.1*random(0)|0.3*sin(2764*t)':s=44100"
        inputs += ["-f", "lavfi", "-i", sound]
        codecs += ["-c:a", *AUDIO[audio].split()]
    for muxer in ("matroska", "nut", "mpegts"):
        command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *inputs, "-t", str(LENGTH_S), *codecs, "-f", muxer, name + ".new"]
        made = subprocess.run(command, capture_output=True, text=True)
        if not made.returncode:
            os.rename(name + ".new", name)
            return name
    raise RuntimeError(made.stderr)


class Node:
    def __init__(self, weir, arguments, **how):
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".log")
        command = [weir, *arguments, "--bind", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self.log, **how)
        self.udp = self.http = None
        found = self.until("it starts", lambda: re.search(r"udp (\S+), page and players at (\S+?)/?\s", self.said()))
        self.udp, self.http = found[1], found[2]

    def said(self):
        with open(self.log.name) as log:
            return log.read()

    def until(self, what, look, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = look()
            if found:
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise RuntimeError(f"never: {what}\n{self.said()}")

    def stream(self):
        with urllib.request.urlopen(f"{self.http}/status.json", timeout=20) as answer:
            return (json.load(answer)["streams"] or [{}])[0]

    def close(self):
        self.process.kill()
        self.process.wait()


def command(player, url, sink):
    """How a player plays a few seconds. mpv and VLC count time from the stream's beginning, so they are ended from outside."""
    ff = ["-v", "level+warning", "-threads", "1"]
    return {
        "ffmpeg": ["ffmpeg", "-nostdin", *ff, "-i", url, "-map", "0", "-t", "3", "-f", "framecrc", "-"],
        "ffprobe": ["ffprobe", *ff, "-show_frames", "-read_intervals", "%+2", "-of", "compact", "-i", url],
        "mpv": ["timeout", "-s", "INT", "8", "mpv", "--no-config", "--vo=null", "--ao=null", "--msg-level=all=warn,statusline=status",
                "--term-status-msg=at ${=time-pos}", url],
        "vlc": ["timeout", "-s", "INT", "10", "setpriv", "--reuid=65534", "--clear-groups", "cvlc", "-I", "dummy", "--no-sout-video",
                "--sout", f"#transcode{{acodec=s16l}}:std{{access=file,mux=wav,dst={sink}}}", url],
    }[player]


WRONG = {
    "ff": re.compile(r"\[(error|fatal|panic)\]"),
    "mpv": re.compile(r"(?i)error|fail|invalid|corrupt|mmco|missing"),
    "vlc": re.compile(r"(?i)error|fail|discontinuity|corrupt|cannot"),
}


def play(player, url, has_audio, home):
    """What a player complains of that joins within the next second and a half, and nothing if it plays well."""
    time.sleep(random.random() * 1.5)
    sink = os.path.join(home, f"{random.random()}.wav")
    how = ["timeout", "-k", "5", "60", *command(player, url, sink)]
    env = dict(os.environ, HOME=home)
    played = subprocess.run(how, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", env=env)
    said = played.stderr + (played.stdout if player == "mpv" else "")
    wrong = WRONG.get(player, WRONG["ff"])
    complaints = [line for line in re.split(r"[\r\n]+", said) if wrong.search(line) and not USUAL.search(line)]
    if player.startswith("ff"):
        frames = sum(not line.startswith("#") for line in played.stdout.splitlines())
        if played.returncode or frames < 3:
            complaints.append(f"{frames} frames, exit status {played.returncode}")
    if player == "mpv":
        times = [float(at) for at in re.findall(r"at (\d+\.\d+)", said)]
        if len(times) < 2 or max(times) - min(times) < 2:
            complaints.append(f"played {times[:1]} to {times[-1:]}")
    if player == "vlc" and has_audio:
        size = os.path.getsize(sink) if os.path.exists(sink) else 0
        if size < 20_000:
            complaints.append(f"{size} bytes of sound")
    if os.path.exists(sink):
        os.remove(sink)
    return complaints


def attempt(combination, options, workshop):
    name, container, muxer, video, audio = combination
    nodes, complaints, feed = [], [], None
    try:
        with ENCODING:
            media = encode(workshop, video, audio)
        key = os.path.join(workshop, f"{name}.key")
        if not os.path.exists(key):
            subprocess.run([options.weir, "keygen", "--out", key], check=True, capture_output=True)
        send = f"ffmpeg -v error -nostdin -re -i {media} -map 0 -c copy -strict -2 {muxer} pipe:1"
        feed = subprocess.Popen(send.split(), stdout=subprocess.PIPE)
        source = Node(options.weir, ["source", "--key", key, "--input", "-"], stdin=feed.stdout)
        nodes.append(source)
        feed.stdout.close()
        source.until("the stream is live", lambda: source.stream().get("head_block", 0) > 0)
        stream = source.stream()["key"]
        for _ in range(2):
            relay = ["relay", f"weir://{nodes[-1].udp}/{stream}", "--memory", "24MiB", "--upload-limit", "unlimited"]
            nodes.append(Node(options.weir, relay))
        far = nodes[-1]
        far.until("the far relay knows the stream", lambda: far.stream().get("content_type"))
        places = (("source", source), ("far", far))
        began = time.monotonic()
        for turn in range(options.joins):
            if time.monotonic() - began > LENGTH_S - 25:
                break
            player = options.players[turn % len(options.players)]
            with concurrent.futures.ThreadPoolExecutor() as pool:
                said = pool.map(lambda at: play(player, f"{at[1].http}/streams/{stream}", audio, workshop), places)
                for (place, _), lines in zip(places, said):
                    complaints += [f"{player} at {place}: {line}" for line in dict.fromkeys(lines)]
        for place, node in (("source", source), ("near", nodes[1]), ("far", far)):
            status = node.stream()
            for figure in ("trouble", "gaps_total"):
                if status.get(figure) and not (container == "raw" and figure == "trouble"):
                    complaints.append(f"{place}: {figure} {status[figure]}")
        kind = source.stream()["content_type"]
    except Exception as error:  # pylint: disable=broad-except
        kind = "nothing"
        complaints.append(str(error))
    finally:
        for node in nodes:
            node.close()
        if feed:
            feed.kill()
            feed.wait()
    return name, kind, complaints


def is_of_its_kind(name, line):
    return any(re.search(kind, name) and re.search(said, line) for kind, said in OF_ITS_KIND)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--joins", type=int, default=4)
    parser.add_argument("--at-once", type=int, default=3)
    parser.add_argument("--players", type=lambda text: text.split(","), default=["ffmpeg", "ffprobe", "mpv", "vlc"])
    parser.add_argument("--weir", default="target/debug/weir")
    parser.add_argument("--media", help="where encoded media are kept for the next run")
    options = parser.parse_args()
    chosen = [c for c in combinations() if re.search(options.only, c[0])]
    bad = 0
    with tempfile.TemporaryDirectory() as scratch, concurrent.futures.ThreadPoolExecutor(options.at_once) as pool:
        workshop = options.media or scratch
        os.makedirs(workshop, exist_ok=True)
        os.chmod(workshop, 0o777)
        for name, kind, complaints in pool.map(lambda c: attempt(c, options, workshop), chosen):
            expected = [line for line in complaints if is_of_its_kind(name, line)]
            unexpected = len(complaints) > len(expected)
            bad += unexpected
            verdict = "BAD " if unexpected else "note" if expected else "well"
            print(f"{verdict} {name} ({kind})", *complaints, sep="\n     ", flush=True)
    print(f"{len(chosen)} combinations, {bad} with complaints")
    return min(bad, 125)


if __name__ == "__main__":
    sys.exit(main())
