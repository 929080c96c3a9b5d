//! A publish of one picture, alone or with sounds that are announced and never come: everybody sees it, who waited for it and who
//! comes later.

use client::{Kind, Player};
use srs_tests::capture::{player, publisher, receive_frames};
use srs_tests::live::HttpViewer;
use srs_tests::marked::{self, Unit};
use srs_tests::pattern::{AUDIO_CONFIGURATION, VIDEO_CONFIGURATION};
use srs_tests::server::Server;
use srs_tests::site::site;
use srs_tests::wait::wait_until;

/// Somebody who watches in each way.
struct Viewers {
    rtmp: Player,
    http: [HttpViewer; 3],
}

impl Viewers {
    fn start(server: &Server, path: &str) -> Self {
        let watch = |ending: &str| HttpViewer::start(&server.web(), &format!("/{path}.{ending}"));
        Self { rtmp: player(&server.url(path)), http: ["flv", "ts", "mp4"].map(watch) }
    }

    fn assert_shown(&mut self, what: &str, picture: &Unit) {
        let frames = receive_frames(&mut self.rtmp, 1);
        assert_eq!(frames.last().unwrap().payload, picture.body(), "{what}: RTMP");
        wait_until(&format!("{what}: the picture over HTTP"), || {
            self.http.iter().all(|viewer| viewer.bytes().windows(4).any(|window| window == b"unit"))
        });
        let [flv, ts, mp4] = self.http.each_ref().map(HttpViewer::bytes);
        for (way, units) in
            [("flv", marked::of_flv(&flv)), ("ts", marked::of_ts(&ts)), ("mp4", marked::of_mp4(&mp4))]
        {
            let numbers: Vec<u64> = units.iter().map(|unit| unit.number).collect();
            assert_eq!(numbers, [picture.number], "{what}: {way}");
        }
    }
}

#[test]
fn one_picture_is_seen_by_all() {
    let picture = Unit::picture(7, 0, true);
    for (announces_sound, stays) in [(false, true), (true, true), (false, false), (true, false)] {
        let server = site("http_remux { enabled on; }");
        let what = format!("sound announced: {announces_sound}, the publisher stays: {stays}");
        let mut early = Viewers::start(&server, "live/a");
        wait_until("who waits", || server.clients().len() == 4);
        let mut publisher = publisher(&server.url("live/a"));
        publisher.send(Kind::Video, 0, VIDEO_CONFIGURATION).unwrap();
        if announces_sound {
            publisher.send(Kind::Audio, 0, AUDIO_CONFIGURATION).unwrap();
        }
        picture.send(&mut publisher);
        if stays {
            early.assert_shown(&format!("early, {what}"), &picture);
            Viewers::start(&server, "live/a").assert_shown(&format!("late, {what}"), &picture);
            drop(publisher.finish());
        } else {
            drop(publisher.finish());
            early.assert_shown(&format!("early, {what}"), &picture);
        }
    }
}
