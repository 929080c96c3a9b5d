#!/bin/sh
# Makes conf/demo.flv, the stream that the demo configuration plays: ten seconds of ffmpeg's own test picture and tone, so
# that no rights of others are in it. Needs ffmpeg with libx264.
#   H.264 main profile, 640x360, 25 fps, a key frame every 2 s, no B-frames; AAC, 44100 Hz, stereo.
set -eu
cd "$(dirname "$0")/.."
ffmpeg -nostdin -hide_banner -loglevel error -y \
    -f lavfi -i testsrc2=size=640x360:rate=25 \
    -f lavfi -i sine=frequency=440:beep_factor=4:sample_rate=44100 \
    -t 10 \
    -map 0:v -c:v libx264 -profile:v main -preset veryslow -pix_fmt yuv420p \
    -b:v 560k -maxrate 700k -bufsize 700k -bf 0 -g 50 -keyint_min 50 -sc_threshold 0 \
    -map 1:a -c:a aac -b:a 64k -ac 2 \
    -fflags +bitexact -flags:v +bitexact -flags:a +bitexact \
    -f flv -flvflags no_duration_filesize conf/demo.flv
