# A client written with faye-websocket: it sends a text and a binary message, waits for
# their echoes and closes.
#
#     hello.rb URL
require 'eventmachine'
require 'faye/websocket'

messages = ['hello from Ruby', (0..15).to_a]
got = []
status = 1
EM.run do
  ws = Faye::WebSocket::Client.new(ARGV[0])
  ws.on(:open) { ws.send(messages[0]) }
  ws.on(:message) do |event|
    got << event.data
    got.size < messages.size ? ws.send(messages[got.size]) : ws.close(1000)
  end
  ws.on(:error) { |event| warn event.message }
  ws.on(:close) do |event|
    status = 0 if got == messages && event.code == 1000
    EM.stop
  end
end
exit status
