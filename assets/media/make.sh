#!/bin/sh
# Makes the small media the tests read: two seconds of a tone and a test picture in every container.
# The results are committed, so that the tests need no ffmpeg; made with ffmpeg 5.1.
set -e
cd "$(dirname "$0")"
make() {
	file=$1
	shift
	ffmpeg -v error -nostdin -y -f lavfi -i testsrc=size=64x48:rate=10 -f lavfi -i sine=frequency=440:sample_rate=22050 \
		-t 2 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -pix_fmt:v yuv420p "$@" "$file"
}
tags='-metadata title=Tide -metadata artist=Weir'
make tone.mp3 -map 1 -c:a libmp3lame -b:a 32k -id3v2_version 3 -write_id3v1 1 $tags
make tone.aac -map 1 -c:a aac -b:a 32k -f adts
make tone.flac -map 1 -c:a flac -sample_fmt s16 -frame_size 1152 $tags
make tone.wav -map 1 -c:a pcm_u8 -ar 8000
make vorbis.ogg -map 1 -c:a libvorbis -q:a 0 -page_duration 200000 $tags
make opus.ogg -map 1 -c:a libopus -b:a 16k -page_duration 200000 $tags
make theora.ogv -map 0 -map 1 -c:v libtheora -q:v 2 -g 5 -c:a libopus -b:a 16k
make h264.ts -map 0 -map 1 -c:v libx264 -preset ultrafast -crf 35 -g 5 -c:a libmp3lame -b:a 32k -f mpegts
make audio.ts -map 1 -c:a libmp3lame -b:a 32k -f mpegts
make h264.mp4 -map 0 -map 1 -c:v libx264 -preset ultrafast -crf 35 -g 5 -c:a aac -b:a 32k -movflags +empty_moov+frag_keyframe+default_base_moof
make whole.mp4 -map 1 -c:a aac -b:a 16k -movflags +faststart
make vp8.webm -map 0 -map 1 -c:v libvpx -deadline realtime -b:v 50k -g 5 -c:a libopus -b:a 16k -f webm -live 1
make opus.mkv -map 1 -c:a libopus -b:a 16k -cluster_time_limit 300
make wmv2.asf -map 0 -map 1 -c:v wmv2 -q:v 12 -g 5 -c:a wmav2 -b:a 32k $tags
