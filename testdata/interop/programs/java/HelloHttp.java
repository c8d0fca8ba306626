import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.util.Queue;
import java.util.concurrent.CompletionStage;

/** Hello with java.net.http. Messages are short, and so come in one piece. */
class HelloHttp implements Hello.Connection, WebSocket.Listener {
    private final Queue<Object> got;
    private final WebSocket ws;

    HelloHttp(URI uri, Queue<Object> got) throws Exception {
        this.got = got;
        ws = HttpClient.newHttpClient().newWebSocketBuilder().buildAsync(uri, this).get();
    }

    @Override public void send(String text) throws Exception {
        ws.sendText(text, true).get();
    }

    @Override public void send(byte[] bytes) throws Exception {
        ws.sendBinary(ByteBuffer.wrap(bytes), true).get();
    }

    @Override public void close() throws Exception {
        ws.sendClose(WebSocket.NORMAL_CLOSURE, "").get();
    }

    @Override public CompletionStage<?> onText(WebSocket ws, CharSequence data, boolean last) {
        got.add(data.toString());
        ws.request(1);
        return null;
    }

    @Override public CompletionStage<?> onBinary(WebSocket ws, ByteBuffer data, boolean last) {
        got.add(Hello.bytes(data));
        ws.request(1);
        return null;
    }

    @Override public CompletionStage<?> onClose(WebSocket ws, int code, String reason) {
        got.add(Hello.END);
        return null;
    }

    @Override public void onError(WebSocket ws, Throwable error) {
        got.add(error);
    }
}
