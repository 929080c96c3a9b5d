#!/bin/sh
# Makes conf/demo.flv, the stream of the demo configuration: about ten seconds of ffmpeg's own test picture and tone, so
# that no rights of others are in it. Needs ffmpeg with libx264.
#   H.264 main profile, 640x360, 25 fps, a key frame every 2 s, no B-frames; AAC, 48000 Hz, stereo.
# 240 pictures of 40 ms last exactly as long as 450 sounds of 1024 samples (one of them is put in front by the encoder, and the
# pictures begin that much later): repeated, neither leaves a gap.
set -eu
cd "$(dirname "$0")/.."
ffmpeg -nostdin -hide_banner -loglevel error -y \
    -f lavfi -t 12 -i testsrc2=size=640x360:rate=25 \
    -f lavfi -t 12 -i sine=frequency=440:beep_factor=4:sample_rate=48000 \
    -map 0:v -vf trim=end_frame=240 -c:v libx264 -profile:v main -preset veryslow -pix_fmt yuv420p \
    -b:v 560k -maxrate 700k -bufsize 700k -bf 0 -g 50 -keyint_min 50 -sc_threshold 0 \
    -map 1:a -af atrim=end_sample=459776 -c:a aac -b:a 64k -ac 2 \
    -fflags +bitexact -flags:v +bitexact -flags:a +bitexact \
    -f flv -flvflags no_duration_filesize conf/demo.flv
