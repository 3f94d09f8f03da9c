'use strict';
'require view';
'require form';

/* As weir reads them: docs/CONFIG.md, "How values are written". */
const KINDS = {
	uri: [ /^weir:\/\/[^\s\/]+\/[a-z2-7]{52}$/i, _('weir://HOST:PORT/KEY, as the broadcaster gives it') ],
	rate: [ /^(0|unlimited|\d+(\.\d+)?\s*(bit|kbit|Mbit|Gbit))$/, _('a rate, for example 2Mbit; 0; unlimited') ],
	quota: [ /^(0|unlimited|\d+(\.\d+)?\s*(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB))$/, _('a size, for example 200GB; 0; unlimited') ],
	size: [ /^\d+(\.\d+)?\s*(B|kB|MB|GB|KiB|MiB|GiB)$/, _('a size, for example 8MiB') ],
	time: [ /^\d+(\.\d+)?\s*(us|ms|s|m|h)$/, _('a time, for example 2s') ],
	address: [ /^(\d+\.\d+\.\d+\.\d+|\[[0-9a-f:.%]+\]):\d+$/i, _('ADDRESS:PORT, for example 0.0.0.0:8479') ],
	place: [ /^((\d+\.\d+\.\d+\.\d+|\[[0-9a-f:.%]+\]):\d+|%[^\s\/:%,]{1,15}(:\d+)?)$/i, _('ADDRESS:PORT, for example 0.0.0.0:8479, or a device, for example %pppoe-wan') ],
	hostport: [ /^(\[[0-9a-f:.]+\]|[^\s:]+):\d+$/i, _('HOST:PORT') ]
};

const written = (kind) => (section, value) => !value || KINDS[kind][0].test(value) || _('Expecting: %s').format(KINDS[kind][1]);

return view.extend({
	render() {
		const map = new form.Map('weir', _('weir'),
			_('This router passes live streams on to other listeners, within the limits set here, and nothing that is not named here.'));

		const section = map.section(form.NamedSection, 'main', 'relay');
		section.addremove = false;
		section.tab('general', _('General'));
		section.tab('network', _('Network'));
		section.tab('advanced', _('Advanced'));

		const option = (tab, type, name, title, description, more) =>
			Object.assign(section.taboption(tab, type, name, title, description), { rmempty: true }, more);
		const text = (tab, name, title, description, kind, placeholder) =>
			option(tab, form.Value, name, title, description, { validate: written(kind), placeholder });

		option('general', form.Flag, 'enabled', _('Enabled'), null, { rmempty: false });
		option('general', form.DynamicList, 'stream', _('Streams'),
			_('At most four. A broadcaster gives you this line.'), { validate: written('uri'), placeholder: 'weir://radio.example.org:8479/KEY' });
		text('general', 'upload_limit', _('Upload limit'), _('Never send more than this. 0 forwards nothing.'), 'rate', '2Mbit');
		text('general', 'quota', _('Monthly quota'), _('Never send more than this in a calendar month.'), 'quota', '200GB');
		text('general', 'http', _('Page and players'),
			_('127.0.0.1 is this router alone; its LAN address opens them to your network. Never a WAN address.'), 'address', '127.0.0.1:8480');

		option('network', form.DynamicList, 'bind', _('UDP address'),
			_('One for each WAN, an address or a device; or none for every address.'), { validate: written('place'), placeholder: '[::]:8479' });
		option('network', form.Flag, 'open_firewall', _('Open the firewall'),
			_('Lets the UDP port through from the zone "wan", that port and nothing else.'));
		text('network', 'advertise', _('Advertise'), _('What others should dial, where weir finds the wrong address.'), 'address', '192.0.2.1:8479');
		option('network', form.DynamicList, 'peer', _('More places to begin at'), null, { validate: written('hostport') });
		option('network', form.DynamicList, 'interface', _('Follow interfaces'),
			_('When one comes up, hosts are looked up again at once.'), { datatype: 'uciname', placeholder: 'wan' });
		option('network', form.Flag, 'mdns', _('Found by name'), _('Your network finds the relay and its page by name (mDNS).'), { default: '1' });

		option('advanced', form.Value, 'max_children', _('Nodes sent to, at most'), null, { datatype: 'range(0,1000)', placeholder: '32' });
		option('advanced', form.Value, 'max_players', _('Players, at most'), null, { datatype: 'range(0,1000)', placeholder: '16' });
		text('advanced', 'memory', _('Memory'), _('All that weir may plan with.'), 'size', '8MiB');
		option('advanced', form.Value, 'spare', _('Spare stripes'), _('Each is one lost neighbour that is not heard.'), { datatype: 'range(0,16)', placeholder: '1' });
		text('advanced', 'burst', _('Burst'), _('What a new player gets at once.'), 'time', '2s');
		text('advanced', 'window', _('Window'), _('How long a missing block is waited for.'), 'time', '4s');
		option('advanced', form.Value, 'state', _('State directory'),
			_('Where the key and what is left of the month are kept; none: nowhere.'), { placeholder: '/etc/weir' });
		option('advanced', form.Value, 'nice', _('Niceness'), _('The router\'s own work goes first.'), { datatype: 'range(0,19)', placeholder: '5' });

		const log = option('advanced', form.ListValue, 'log', _('Log'), null, { default: 'info' });
		[ 'error', 'warn', 'info', 'debug', 'trace' ].forEach((level) => log.value(level));

		return map.render();
	}
});
