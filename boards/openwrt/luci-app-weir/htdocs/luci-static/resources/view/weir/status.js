'use strict';
'require view';
'require rpc';
'require poll';
'require dom';

const callStatus = rpc.declare({
	object: 'luci.weir',
	method: 'status'
});

const STATES = {
	idle: _('not asked for'),
	joining: _('joining'),
	live: _('live'),
	stalled: _('stalled'),
	ended: _('ended')
};

const bytes = (count) => '%1000.1mB'.format(count);
const rate = (bps) => '%1000.1mbit/s'.format(bps);
const limit = (value, show) => (value == null) ? _('unlimited') : show(value);

/* One sentence before anything else. */
function verdict(status) {
	if (status.error)
		return _('The relay is not running: %s').format(status.error);
	const live = status.streams.filter((stream) => stream.state == 'live');
	const fed = status.peers.filter((peer) => peer.stripes_to > 0).length;
	if (!live.length)
		return _('Nothing flows yet; %d neighbours are known.').format(status.peers.length);
	return _('Carrying %s; feeding %d neighbours and %d players here.')
		.format(live.map((stream) => stream.title || stream.key.slice(0, 8)).join(', '), fed, status.players.length);
}

/* A bar as LuCI's own pages have them; without a limit there is nothing to be full. */
function bar(used, most, show) {
	const percent = most ? Math.min(100, Math.round(100 * used / most)) : 0;
	const text = '%s / %s'.format(show(used), limit(most, show));
	return E('div', {
		'class': 'cbi-progressbar', 'title': text, 'role': 'progressbar',
		'aria-valuenow': percent, 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-label': text
	}, E('div', { 'style': 'width:%d%%'.format(percent) }));
}

function table(id, heads, rows, empty) {
	const element = E('table', { 'class': 'table', 'id': id }, [
		E('tr', { 'class': 'tr table-titles' }, heads.map((head) => E('th', { 'class': 'th' }, head)))
	]);
	cbi_update_table(element, rows, E('em', empty));
	return element;
}

function streamRow(stream) {
	return [
		stream.title || stream.key.slice(0, 8),
		STATES[stream.state] || stream.state,
		rate(stream.bitrate_bps),
		stream.hops,
		_('%d ms').format(stream.lag_ms),
		stream.audience,
		stream.gaps_total,
		stream.disclosure || '-'
	];
}

function peerRow(peer) {
	return [
		peer.address,
		(peer.rtt_ms == null) ? '-' : _('%d ms').format(peer.rtt_ms),
		bytes(peer.rx_bytes_total),
		bytes(peer.tx_bytes_total),
		peer.stripes_from,
		peer.stripes_to
	];
}

function details(status) {
	const upload = status.upload;
	return [
		E('h3', _('This line')),
		E('table', { 'class': 'table', 'id': 'weir-line' }, [
			E('tr', { 'class': 'tr' }, [
				E('td', { 'class': 'td left', 'width': '33%' }, _('Upload now, of the limit')),
				E('td', { 'class': 'td left' }, bar(upload.rate_bps, upload.limit_bps, rate))
			]),
			E('tr', { 'class': 'tr' }, [
				E('td', { 'class': 'td left' }, _('Sent, of the month\'s quota')),
				E('td', { 'class': 'td left' }, bar(upload.quota_used_bytes, upload.quota_bytes, bytes))
			]),
			E('tr', { 'class': 'tr' }, [
				E('td', { 'class': 'td left' }, _('Memory, of the budget')),
				E('td', { 'class': 'td left' }, bar(status.memory.rss_bytes, status.memory.budget_bytes,
					(count) => '%1024.1mB'.format(count)))
			])
		]),
		E('h3', _('Streams')),
		table('weir-streams', [
			_('Title'), _('State'), _('Bit rate'), _('Hops'), _('Behind'), _('Audience'), _('Gaps'), _('Says of itself')
		], status.streams.map(streamRow), _('No stream is configured.')),
		E('h3', _('Neighbours')),
		table('weir-peers', [
			_('Address'), _('Round trip'), _('Received'), _('Sent'), _('Stripes from it'), _('Stripes to it')
		], status.peers.map(peerRow), _('Nobody yet.')),
		E('p', { 'class': 'right' }, 'weir %s'.format(status.version))
	];
}

function render(status) {
	const parts = [ E('p', { 'id': 'weir-verdict', 'aria-live': 'polite' }, verdict(status)) ];
	return status.error ? parts : parts.concat(details(status));
}

return view.extend({
	load() {
		return callStatus();
	},

	render(status) {
		const body = E('div', { 'id': 'weir-status' }, render(status));

		poll.add(() => callStatus().then((status) => dom.content(body, render(status))), 5);

		return E([], [
			E('h2', _('weir')),
			E('div', { 'class': 'cbi-map-descr' }, _('Live streams that this router carries for others.')),
			body
		]);
	},

	handleSaveApply: null,
	handleSave: null,
	handleReset: null
});
