// Leads the TCP connections of Node to wstrace, which runs this program.
'use strict';

const dns = require('dns');
const net = require('net');
const path = require('path');
const tls = require('tls');

const lineLen = 1024; // of the line that tells wstrace where a connection goes
const [leadPort, proxyPort, token] = (process.env.WSTRACE_LEAD_IN || '').split(' ');

// A wstrace that runs another has a preload too, and Bun and Deno are not Node.
const once = Symbol.for('wstrace lead-in');
if (!token || process[once] || process.versions.bun || process.versions.deno) return;
process[once] = true;

// parse returns the options and the callback of connect, called with args as that of
// net, or of tls if withTLS is set.
function parse(args, withTLS) {
	if (Array.isArray(args[0])) args = args[0]; // Node's own form
	let options = {};
	if (args[0] !== null && typeof args[0] === 'object') {
		options = args[0];
	} else if (typeof args[0] === 'string' && !/^\s*\d+\s*$/.test(args[0])) {
		options = {path: args[0]};
	} else {
		options = {port: args[0]};
		if (typeof args[1] === 'string') options.host = args[1];
	}
	if (withTLS && options !== args[0]) {
		const more = args.slice(1, 3).find((a) => a !== null && typeof a === 'object');
		Object.assign(options, more);
	}
	const callback = args[args.length - 1];
	return [options, typeof callback === 'function' ? callback : undefined];
}

// goes reports whether a connection with these options goes to wstrace: one by TCP that
// Node would make, and that goes nowhere else in wstrace.
function goes(options) {
	const port = Number(options.port);
	if (options.path || options.fd !== undefined || !(port >= 1 && port <= 65535)) return false;
	const host = options.host || 'localhost';
	if (typeof host !== 'string' || host.length > 255) return false;
	return !(/^(127\.|localhost$)/.test(host) && (port === Number(leadPort) || port === Number(proxyPort)));
}

// fill writes the line to b.
function fill(b, host, options) {
	b.fill(' ');
	b.write(JSON.stringify({
		token, host, port: Number(options.port), family: options.family === 4 || options.family === 6 ? options.family : 0,
		pid: process.pid, process: path.basename(process.execPath).slice(0, 64),
	}));
	b[lineLen - 1] = 10;
}

const {connect} = net.Socket.prototype;
net.Socket.prototype.connect = function (...args) {
	const [options, callback] = parse(args, false);
	if (this instanceof tls.TLSSocket || !goes(options)) return connect.apply(this, args);
	const host = options.host || 'localhost';
	const line = Buffer.alloc(lineLen);
	fill(line, host, options);
	const led = Object.assign({}, options, {
		port: Number(leadPort), family: 0, localAddress: undefined, localPort: undefined, blockList: undefined,
	});
	if (net.isIP(host)) {
		led.host = '127.0.0.1';
	} else {
		led.lookup = (name, how, done) => { // so that a name that does not exist fails as ever
			const lookup = options.lookup || dns.lookup;
			lookup(name, Object.assign({}, how, {family: options.family}), (err, found, family) => {
				if (err) return done(err, found, family);
				const address = Array.isArray(found) ? found[0] && found[0].address : found;
				// The line was queued but not sent, since there is no connection yet.
				if (options.lookup && net.isIP(address)) fill(line, address, options);
				if (how.all) done(null, [{address: '127.0.0.1', family: 4}]);
				else done(null, '127.0.0.1', 4);
			});
		};
	}
	const socket = callback ? connect.call(this, led, callback) : connect.call(this, led);
	if (!this.destroyed) this.write(line);
	return socket;
};

// A socket of TLS encrypts all that is written to it, so it gets one that has said
// where it goes.
const secure = tls.connect;
tls.connect = function (...args) {
	const [options, callback] = parse(args, true);
	if (options.socket || !goes(options)) return secure.apply(this, args);
	const plain = {};
	for (const name of ['host', 'port', 'family', 'hints', 'lookup', 'autoSelectFamily', 'autoSelectFamilyAttemptTimeout',
		'noDelay', 'keepAlive', 'keepAliveInitialDelay', 'allowHalfOpen', 'highWaterMark']) {
		if (options[name] !== undefined) plain[name] = options[name];
	}
	const socket = secure.call(this, Object.assign({}, options, {socket: net.connect(plain)}), callback);
	if (options.timeout) socket.setTimeout(options.timeout);
	return socket;
};

const {syncBuiltinESMExports} = require('module');
if (syncBuiltinESMExports) syncBuiltinESMExports();
