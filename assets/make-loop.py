#!/usr/bin/env python3
"""Makes loop.mp3, what `weir demo` plays: twelve seconds of bells over slow chords that join on to themselves.

    python3 assets/make-loop.py        (needs ffmpeg with libmp3lame)

48 kHz mono at 64 kbit/s gives MPEG frames of exactly 192 bytes and 24 ms, so 500 of them are the loop. Without a bit
reservoir each frame stands for itself; the loop is encoded three times in a row and the middle one kept, so that even the
overlap of neighbouring frames is right where the end meets the beginning.
"""

import array
import math
import pathlib
import subprocess

RATE = 48_000
SECONDS = 12
SAMPLES = RATE * SECONDS
FRAME_BYTES = 192
FRAMES = 500

A4 = 440.0
# Four bars of three seconds: roots and the notes above them, in semitones from A4. A minor, F, C, G.
CHORDS = [(-24, (-12, -9, -5)), (-28, (-16, -12, -9)), (-21, (-9, -5, -2)), (-26, (-14, -10, -7))]
# Bells, eight to a bar, from the pentatonic scale all four chords share.
BELLS = [0, 7, 3, 10, 12, 7, 10, 3, 0, 3, 7, 12, 15, 12, 10, 7, 3, 10, 7, 12, 10, 3, 7, 0, -2, 3, 5, 10, 12, 10, 5, 3]


def hertz(semitones):
    return A4 * 2 ** (semitones / 12)


def add(out, start_s, length_s, frequency, gain, attack_s, decay_s):
    """Adds one tone; what reaches beyond the end comes in again at the beginning."""
    start, step = int(start_s * RATE), 2 * math.pi * frequency / RATE
    for i in range(int(length_s * RATE)):
        t = i / RATE
        left = length_s - t
        envelope = min(t / attack_s, 1.0) * math.exp(-t / decay_s) * min(left / 0.05, 1.0)
        tone = math.sin(step * i) + 0.3 * math.sin(2 * step * i) + 0.1 * math.sin(3 * step * i)
        out[(start + i) % SAMPLES] += gain * envelope * tone


def loop():
    out = [0.0] * SAMPLES
    for bar, (root, notes) in enumerate(CHORDS):
        add(out, bar * 3, 3.3, hertz(root), 0.16, 0.25, 4.0)
        for note in notes:
            add(out, bar * 3, 3.3, hertz(note), 0.05, 0.6, 4.0)
    for i, bell in enumerate(BELLS):
        add(out, i * 0.375, 1.5, hertz(bell + 12), 0.09 if i % 4 else 0.12, 0.004, 0.35)
    peak = max(map(abs, out))
    return array.array("h", (int(sample / peak * 22_000) for sample in out))


def main():
    here = pathlib.Path(__file__).resolve().parent
    encode = "ffmpeg -loglevel error -f s16le -ar 48000 -ac 1 -i - -c:a libmp3lame -b:a 64k -reservoir 0".split()
    plain = "-write_xing 0 -id3v2_version 0 -write_id3v1 0 -f mp3 -".split()
    encoded = subprocess.run(encode + plain, input=loop().tobytes() * 3, stdout=subprocess.PIPE, check=True).stdout
    middle = encoded[FRAMES * FRAME_BYTES:2 * FRAMES * FRAME_BYTES]
    assert all(middle[i:i + 2] == b"\xff\xfb" for i in range(0, len(middle), FRAME_BYTES)), "not all frames are 192 bytes"
    (here / "loop.mp3").write_bytes(middle)


if __name__ == "__main__":
    main()
