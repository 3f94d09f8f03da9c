//! The ledger in the documents: what went to and came from which network, and on which day.

use crate::http::out::Out;
use crate::http::status::{DayStatus, NetworkStatus, UplinkStatus};
use crate::http::units::{Data, Rate};

/// Begins the object and its list of networks; the list of players ends before it.
pub(crate) fn json_begin(out: &mut Out<'_>) {
    out.str("],\"ledger\":{\"networks\":[");
}

pub(crate) fn json_network(network: &NetworkStatus, out: &mut Out<'_>) {
    out.fmt(format_args!(
        "{{\"network\":\"{network}\",\"rx_bytes_total\":{},\"tx_bytes_total\":{}}}",
        network.rx_bytes_total, network.tx_bytes_total,
    ));
}

/// Ends the list of networks with what is in none of them, and begins that of days.
pub(crate) fn json_days(others: (u64, u64), out: &mut Out<'_>) {
    out.fmt(format_args!(
        "],\"others\":{{\"rx_bytes_total\":{},\"tx_bytes_total\":{}}},\"days\":[",
        others.0, others.1,
    ));
}

pub(crate) fn json_day(day: &DayStatus, out: &mut Out<'_>) {
    out.fmt(format_args!(
        "{{\"day\":\"{}\",\"rx_bytes\":{},\"tx_bytes\":{}}}",
        day.date, day.rx_bytes, day.tx_bytes,
    ));
}

/// What is worth a line of text about the owner's line; nothing when all is as usual.
pub(crate) fn text_uplink(line: &UplinkStatus<'_>, out: &mut Out<'_>) {
    if let (Some(target), Some(queue)) = (line.delay_target_ms, line.queue_ms) {
        out.fmt(format_args!("queue      {queue} ms of {target} ms"));
        if let Some(pace) = line.pace_bps {
            out.fmt(format_args!(
                "   others need the line: {} at most",
                Rate(pace)
            ));
        }
        out.str("\n");
    }
}

pub(crate) fn text_network(first: bool, network: &NetworkStatus, out: &mut Out<'_>) {
    if first {
        out.str("\nledger\n");
    }
    out.fmt(format_args!(
        "  {:<32} {:>10} in  {:>10} out\n",
        Text(network),
        Text(&Data(network.rx_bytes_total)),
        Text(&Data(network.tx_bytes_total)),
    ));
}

pub(crate) fn text_day(day: &DayStatus, out: &mut Out<'_>) {
    out.fmt(format_args!(
        "  {:<32} {:>10} in  {:>10} out\n",
        Text(&day.date),
        Text(&Data(day.rx_bytes)),
        Text(&Data(day.tx_bytes)),
    ));
}

/// Makes anything as wide as it is told to be.
struct Text<'a, T>(&'a T);

impl<T: core::fmt::Display> core::fmt::Display for Text<'_, T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut text = heapless::String::<64>::new();
        // Longer ones are cut.
        let _ = core::fmt::write(&mut text, format_args!("{}", self.0));
        f.pad(&text)
    }
}
