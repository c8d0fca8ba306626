import { WebSocketServer } from 'ws'
import { Diary, serve } from './peer.mjs'

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: true })
server.on('listening', () => serve(server.address()))
server.on('connection', (ws, request) => {
  const diary = new Diary(new URL(request.url, 'ws://server').searchParams.get('id'))
  ws.on('message', (p, binary) => {
    const type = binary ? 'binary' : 'text'
    diary.message('got', type, p)
    diary.message('sent', type, p)
    ws.send(p, { binary })
  })
  ws.on('ping', p => {
    diary.control('got', 'ping', p)
    diary.control('sent', 'pong', p)
  })
  let failure
  ws.on('error', error => { failure = error })
  ws.on('close', (code, reason) => {
    diary.close('got', code, reason)
    diary.done(failure)
  })
})
