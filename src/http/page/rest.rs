//! Below the streams: neighbours, players, the box, what happened lately, and control.

use super::picture::Short;
use super::{fact, html};
use crate::http::out::{Out, ShortId};
use crate::http::status::{
    EventStatus, LineStatus, PeerStatus, PlayerStatus, StatusSource, StreamStatus,
};
use crate::http::units::{Data, Duration, Memory};

pub(super) const PEERS: &str = "<section><h2 id=h-peers>Neighbours</h2><div class=scroll tabindex=0 \
     role=region aria-labelledby=h-peers><table><thead><tr><th scope=col>Address<th scope=col>Name<th scope=col>State\
     <th scope=col>Round trip<th scope=col>In<th scope=col>Out<th scope=col>Stripes from<th scope=col>Stripes to</tr></thead><tbody>";

pub(super) fn peer(peer: &PeerStatus, out: &mut Out<'_>) {
    out.fmt(format_args!(
        "<tr><th scope=row>{}<td><code>{}</code><td>",
        Short(peer.address),
        ShortId(&peer.node)
    ));
    html(out, peer.state, 32);
    match peer.rtt_ms {
        Some(rtt_ms) => out.fmt(format_args!("<td>{rtt_ms} ms")),
        None => out.str("<td>-"),
    }
    out.fmt(format_args!(
        "<td>{}<td>{}<td>{}<td>{}</tr>",
        Data(peer.rx_bytes_total),
        Data(peer.tx_bytes_total),
        peer.stripes_from,
        peer.stripes_to,
    ));
}

pub(super) const PLAYERS: &str = "</tbody></table></div></section><section><h2 id=h-players>Players here</h2>\
     <div class=scroll tabindex=0 role=region aria-labelledby=h-players><table><thead><tr><th scope=col>Address<th scope=col>Stream\
     <th scope=col>Sent<th scope=col>Skipped<th scope=col>Program</tr></thead><tbody>";

pub(super) fn player(player: &PlayerStatus<'_>, source: &dyn StatusSource, out: &mut Out<'_>) {
    out.fmt(format_args!("<tr><th scope=row>{}<td>", player.address));
    let streams = (0..source.stream_slots()).filter_map(|i| source.stream(i));
    let title = streams
        .filter(|stream| stream.key == player.stream)
        .map(|stream| stream.title)
        .find(|title| !title.is_empty());
    html(out, title.unwrap_or(player.stream), 120);
    out.fmt(format_args!(
        "<td>{}<td>{}<td>",
        Data(player.tx_bytes_total),
        Data(player.skipped_bytes_total)
    ));
    html(out, player.user_agent, 256);
    out.str("</tr>");
}

/// Serial lines, where there are any.
pub(super) const LINES: &str = "</tbody></table></div></section><section><h2 id=h-lines>Serial lines</h2>\
     <div class=scroll tabindex=0 role=region aria-labelledby=h-lines><table><thead><tr><th scope=col>Device<th scope=col>Role\
     <th scope=col>State<th scope=col>In<th scope=col>Out<th scope=col>Damaged<th scope=col>Dropped<th scope=col>Opened</tr></thead><tbody>";

pub(super) fn line(line: &LineStatus<'_>, out: &mut Out<'_>) {
    out.str("<tr><th scope=row>");
    html(out, line.path, 256);
    out.fmt(format_args!(
        "<td>{}, {} baud<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
        line.role,
        line.baud,
        line.state,
        Data(line.rx_bytes_total),
        Data(line.tx_bytes_total),
        line.bad_frames_total,
        line.dropped_frames_total,
        line.opened_total,
    ));
}

/// What the box itself is and uses.
pub(super) fn machine(source: &dyn StatusSource, out: &mut Out<'_>) {
    let (node, memory, machine) = (source.node(), source.memory(), source.machine());
    out.str("</tbody></table></div></section><section aria-labelledby=h-box><h2 id=h-box>This box</h2><dl>");
    out.str("<div><dt>Version<dd>");
    html(out, node.version, 64);
    out.str("</div>");
    fact(out, "Up", &Duration(node.uptime_s));
    fact(
        out,
        "Memory planned",
        &format_args!(
            "{} of {}",
            Memory(memory.planned_bytes),
            Memory(memory.budget_bytes)
        ),
    );
    fact(out, "Memory resident", &Memory(memory.rss_bytes));
    fact(out, "Heap", &Memory(memory.heap_live_bytes));
    fact(out, "Heap allocations", &memory.heap_allocations_total);
    if let Some(permille) = machine.cpu_permille {
        fact(
            out,
            "Processor",
            &format_args!("{}.{} %", permille / 10, permille % 10),
        );
    }
    if let Some(mc) = machine.temperature_mc {
        fact(out, "Temperature", &format_args!("{} \u{b0}C", mc / 1_000));
    }
    fact(
        out,
        "Clock",
        &if machine.clock_is_set {
            "set"
        } else {
            "not set"
        },
    );
    fact(out, "Datagrams in", &node.rx_datagrams_total);
    fact(out, "Datagrams out", &node.tx_datagrams_total);
    fact(out, "Refused datagrams", &node.malformed_datagrams_total);
    fact(out, "Dropped by the system", &node.kernel_drops_total);
    out.fmt(format_args!(
        "<div class=wide><dt>Listens at<dd>UDP {}, page {}</div></dl></section>",
        machine.udp, machine.http
    ));
}

pub(super) const EVENTS: &str =
    "<section aria-labelledby=h-events><h2 id=h-events>Lately</h2><ol class=events>";

pub(super) fn event(event: &EventStatus<'_>, out: &mut Out<'_>) {
    out.fmt(format_args!(
        "<li><span>{} ago</span> ",
        Duration(event.age_s)
    ));
    html(out, event.text, 700);
    if event.times > 1 {
        out.fmt(format_args!(" ({} times)", event.times));
    }
    out.str("</li>");
}

/// The form, where its owner turned it on; its streams follow one by one.
pub(super) fn control(source: &dyn StatusSource, out: &mut Out<'_>) {
    let (machine, upload) = (source.machine(), source.upload());
    if !machine.has_control {
        return;
    }
    // What the field holds is what the command line would take.
    let limit = heapless::format!(24; "{}", LimitText(upload.limit_bps)).unwrap_or_default();
    out.fmt(format_args!(
        "<section aria-labelledby=h-control data-keep><h2 id=h-control>Control</h2><form method=post action=\"/control\">\
         <input type=hidden name=user value=owner autocomplete=username><p><label for=token>Token</label><input id=token name=token type=password required autocomplete=current-password></p>\
         <p><label for=limit>Upload limit</label><input id=limit name=limit value=\"{limit}\" size=10>\
         <button name=do value=limit>Set the limit</button></p>\
         <p><label for=for>Pause for</label><select id=for name=for><option value=1h>an hour<option value=8h>eight hours\
         <option value=24h>a day</select><button name=do value=pause>Pause relaying</button><button name=do value=resume>Resume</button></p>\
         <p><label for=stream>Stream</label><select id=stream name=stream>"
    ));
}

pub(super) fn control_stream(stream: &StreamStatus<'_>, out: &mut Out<'_>) {
    out.str("<option value=\"");
    html(out, stream.key, 64);
    out.str("\">");
    let title = match stream.title {
        "" => stream.key,
        title => title,
    };
    html(out, title, 120);
}

pub(super) const CONTROL_END: &str = "</select><button name=do value=stop>Stop it here</button><button name=do value=start>Carry it again</button>\
     </p></form><p id=said role=status></p></section>";

pub(super) const END: &str = "</main><footer>The same as <a href=\"/status.txt\">text</a>, \
     <a href=\"/status.json\">JSON</a> and <a href=\"/metrics\">metrics</a>.</footer></div>";

/// A limit as the command line takes it.
struct LimitText(Option<u64>);

impl core::fmt::Display for LimitText {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            None => f.write_str("unlimited"),
            Some(0) => f.write_str("0"),
            Some(bps) if bps % 1_000_000 == 0 => write!(f, "{}Mbit", bps / 1_000_000),
            Some(bps) if bps % 1_000 == 0 => write!(f, "{}kbit", bps / 1_000),
            Some(bps) => write!(f, "{bps}bit"),
        }
    }
}
