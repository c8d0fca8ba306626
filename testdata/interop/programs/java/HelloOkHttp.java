import java.net.URI;
import java.util.Queue;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import okhttp3.WebSocket;
import okhttp3.WebSocketListener;
import okio.ByteString;

/** Hello with OkHttp. */
class HelloOkHttp extends WebSocketListener implements Hello.Connection {
    private final Queue<Object> got;
    private final WebSocket ws;

    HelloOkHttp(URI uri, Queue<Object> got) {
        this.got = got;
        ws = new OkHttpClient().newWebSocket(new Request.Builder().url(uri.toString()).build(), this);
    }

    @Override public void send(String text) {
        ws.send(text);
    }

    @Override public void send(byte[] bytes) {
        ws.send(ByteString.of(bytes));
    }

    @Override public void close() {
        ws.close(1000, null);
    }

    @Override public void onMessage(WebSocket ws, String text) {
        got.add(text);
    }

    @Override public void onMessage(WebSocket ws, ByteString bytes) {
        got.add(bytes.toByteArray());
    }

    @Override public void onClosed(WebSocket ws, int code, String reason) {
        got.add(Hello.END);
    }

    @Override public void onFailure(WebSocket ws, Throwable error, Response response) {
        got.add(error);
    }
}
