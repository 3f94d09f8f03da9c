//! Serial lines in the status documents.

use crate::http::out::{For, Out, escaped};
use crate::http::status::StatusSource;
use crate::http::units::Data;

/// Longest device name shown.
const MAX_PATH_BYTES: usize = 96;

/// `,"serial":[...]` of `/status.json`.
pub(crate) fn json(source: &dyn StatusSource, out: &mut Out<'_>) {
    out.str(",\"serial\":[");
    for (i, line) in lines(source).enumerate() {
        out.str(if i == 0 { "" } else { "," });
        out.str("{\"path\":\"");
        escaped(out, For::Json, line.path, MAX_PATH_BYTES);
        out.fmt(format_args!(
            "\",\"role\":\"{}\",\"baud\":{},\"state\":\"{}\",\"rx_bytes_total\":{},\"tx_bytes_total\":{}",
            line.role, line.baud, line.state, line.rx_bytes_total, line.tx_bytes_total,
        ));
        out.fmt(format_args!(
            ",\"rx_frames_total\":{},\"tx_frames_total\":{},\"bad_frames_total\":{},\"dropped_frames_total\":{},\
             \"echoed_frames_total\":{},\"opened_total\":{}}}",
            line.rx_frames_total,
            line.tx_frames_total,
            line.bad_frames_total,
            line.dropped_frames_total,
            line.echoed_frames_total,
            line.opened_total,
        ));
    }
    out.str("]");
}

/// The table of `/status.txt`; nothing where there are no lines.
pub(crate) fn text(source: &dyn StatusSource, out: &mut Out<'_>) {
    for (i, line) in lines(source).enumerate() {
        out.str(if i == 0 { "\nserial lines\n  " } else { "  " });
        escaped(out, For::Line, line.path, MAX_PATH_BYTES);
        out.fmt(format_args!(
            " {} {} baud   {}   in {} ({} frames, {} bad)   out {} ({} dropped)   opened {}\n",
            line.role,
            line.baud,
            line.state,
            Data(line.rx_bytes_total),
            line.rx_frames_total,
            line.bad_frames_total,
            Data(line.tx_bytes_total),
            line.dropped_frames_total,
            line.opened_total,
        ));
    }
}

/// Every serial line.
pub(crate) fn lines(
    source: &dyn StatusSource,
) -> impl Iterator<Item = crate::http::status::LineStatus<'_>> {
    (0..source.line_slots()).filter_map(|i| source.line(i))
}
