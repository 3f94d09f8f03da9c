#!/bin/sh
# Plays streams in headless Chromium, and looks at the page with it (screenshots go to $SHOTS, if set): run.sh [path to weir]. Needs ffmpeg, node, npm and chromium; without one of them it
# says so and passes, except in continuous integration (CI=true).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
weir=${1:-$here/../../target/release/weir}
for program in ffmpeg node npm chromium; do
    command -v "$program" >/dev/null || {
        echo "SKIPPED: $program is not installed, so no browser plays the streams"
        [ "${CI:-}" != true ]
        exit
    }
done
[ -d "$here/node_modules/hls.js" ] && [ -d "$here/node_modules/axe-core" ] ||
    (cd "$here" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
media=$(mktemp -d)
trap 'rm -rf "$media"' EXIT
make() {
    ffmpeg -v error -nostdin -f lavfi -i testsrc=size=160x120:rate=25 -f lavfi -i "aevalsrc='0.3*sin(2764*t)+0.1*random(0)':s=44100" \
        -t 45 -pix_fmt:v yuv420p "$@"
}
h264="-map 0 -map 1 -c:v libx264 -preset ultrafast -g 25 -c:a aac"
make -map 1 -c:a libmp3lame -b:a 128k "$media/tone.mp3"
make -map 1 -c:a libvorbis "$media/tone.ogg"
make -map 0 -map 1 -c:v libvpx -deadline realtime -cpu-used 8 -g 25 -c:a libvorbis "$media/film.webm"
# shellcheck disable=SC2086
make $h264 -movflags +empty_moov+frag_keyframe+default_base_moof "$media/film.mp4"
# shellcheck disable=SC2086
make $h264 "$media/film.ts"
cp "$media/film.mp4" "$media/fragments.mp4"
cp "$media/tone.mp3" "$media/hls.mp3"
make -map 1 -c:a aac "$media/hls.aac"
node "$here/tour.mjs" "$weir" "$media"
node "$here/page.mjs" "$weir" "$media" ${SHOTS:+"$SHOTS"}
