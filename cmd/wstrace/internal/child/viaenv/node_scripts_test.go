package viaenv_test

// Scripts that are given the ports of both servers, and write "hello" for each
// connection.
var scripts = []struct {
	name, file, script string
	led                int // connections
	modules            bool
}{
	{"http", "a.cjs", `
		require('http').get('http://localhost:' + process.argv[2], r => r.pipe(process.stdout))`, 1, false},
	{"http, address", "a.cjs", `
		require('http').get('http://127.0.0.1:' + process.argv[2], r => r.pipe(process.stdout))`, 1, false},
	{"http, agent", "a.cjs", `
		const http = require('http'), agent = new http.Agent({keepAlive: true, timeout: 5000})
		http.get({port: process.argv[2], agent}, r => { r.pipe(process.stdout); r.on('end', () => agent.destroy()) })`, 1, false},
	{"http, own lookup", "a.cjs", `
		require('http').get({host: 'name.invalid', port: process.argv[2], lookup: (name, how, done) =>
			how.all ? done(null, [{address: '127.0.0.1', family: 4}]) : done(null, '127.0.0.1', 4)}, r => r.pipe(process.stdout))`, 1, false},
	{"https", "a.cjs", `
		require('https').get('https://localhost:' + process.argv[3], r => r.pipe(process.stdout))`, 1, false},
	{"https, address", "a.cjs", `
		require('https').get('https://127.0.0.1:' + process.argv[3], r => r.pipe(process.stdout))`, 1, false},
	{"ESM", "a.mjs", `
		import { get } from 'node:http'
		import * as https from 'node:https'
		import { connect } from 'node:tls'
		get('http://localhost:' + process.argv[2], r => r.pipe(process.stdout))
		https.get('https://localhost:' + process.argv[3], r => r.pipe(process.stdout))
		const socket = connect(process.argv[3], 'localhost', {servername: 'localhost', ALPNProtocols: ['http/1.1']}, () =>
			socket.write('GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n'))
		socket.on('data', b => process.stdout.write(/hello$/.test(b) ? 'hello' : ''))`, 3, false},
	{"fetch", "a.mjs", `
		for (const url of ['http://localhost:' + process.argv[2], 'https://localhost:' + process.argv[3]])
			process.stdout.write(await (await fetch(url)).text())`, 2, false},
	{"net", "a.cjs", `
		const net = require('net'), port = process.argv[2]
		const ask = 'GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n'
		const sockets = [net.connect(port), net.connect(port, '127.0.0.1'), net.createConnection({port: +port, host: 'localhost'}),
			new net.Socket().connect(port), new net.Socket({allowHalfOpen: true}).connect({port}, function () { this.end() })]
		for (const socket of sockets) {
			socket.write(ask)
			socket.on('data', b => process.stdout.write(/hello$/.test(b) ? 'hello' : ''))
		}`, 5, false},
	{"TLS, later in use", "a.cjs", `
		const tls = require('tls'), port = process.argv[3]
		const ask = 'GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n'
		const sockets = [tls.connect(port, {servername: 'localhost'}), tls.connect({port: +port, host: '127.0.0.1', timeout: 5000})]
		for (const socket of sockets) {
			socket.write(ask)
			socket.on('data', b => process.stdout.write(/hello$/.test(b) ? 'hello' : ''))
		}`, 2, false},
	{"http2", "a.cjs", `
		const session = require('http2').connect('https://localhost:' + process.argv[3]), request = session.request({':path': '/'})
		request.on('data', b => process.stdout.write(b))
		request.on('end', () => session.close())`, 1, false},
	{"worker", "a.mjs", `
		import { Worker } from 'node:worker_threads'
		new Worker("require('http').get('http://localhost:' + process.argv[2], r => r.pipe(process.stdout))", {eval: true, argv: process.argv.slice(2)})`, 1, false},
	{"child", "a.cjs", `
		require('child_process').fork(__dirname + '/https.cjs', process.argv.slice(2))`, 1, false},
	{"ws", "a.cjs", `
		const { WebSocket } = require('ws')
		for (const url of ['ws://localhost:' + process.argv[2], 'wss://localhost:' + process.argv[3]]) {
			const socket = new WebSocket(url)
			socket.on('open', () => socket.send('hello'))
			socket.on('message', b => { process.stdout.write(b); socket.close() })
		}`, 2, true},
	{"undici", "a.cjs", `
		const { WebSocket, fetch } = require('undici')
		fetch('https://localhost:' + process.argv[3]).then(r => r.text()).then(s => process.stdout.write(s))
		for (const url of ['ws://localhost:' + process.argv[2], 'wss://localhost:' + process.argv[3]]) {
			const socket = new WebSocket(url)
			socket.onopen = () => socket.send('hello')
			socket.onmessage = e => { process.stdout.write(e.data); socket.close() }
		}`, 3, true},
	{"global WebSocket", "a.cjs", `
		const run = WebSocket => {
			for (const url of ['ws://localhost:' + process.argv[2], 'wss://localhost:' + process.argv[3]]) {
				const socket = new WebSocket(url)
				socket.onopen = () => socket.send('hello')
				socket.onmessage = e => { process.stdout.write(e.data); socket.close() }
			}
		}
		if (globalThis.WebSocket) run(WebSocket)
		else require('child_process').spawn(process.execPath, ['--experimental-websocket', '-e', '(' + run + ')(WebSocket)', '-', ...process.argv.slice(2)], {stdio: 'inherit'})`, 2, false},
}
