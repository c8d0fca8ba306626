import java.net.URI;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Queue;
import org.eclipse.jetty.websocket.api.Session;
import org.eclipse.jetty.websocket.api.WebSocketListener;
import org.eclipse.jetty.websocket.client.WebSocketClient;

/** Hello with the client of Jetty. */
public class HelloJetty implements Hello.Connection, WebSocketListener {
    private final Queue<Object> got;
    private final Session session;

    HelloJetty(URI uri, Queue<Object> got) throws Exception {
        this.got = got;
        var client = new WebSocketClient();
        client.start();
        session = client.connect(this, uri).get();
    }

    @Override public void send(String text) throws Exception {
        session.getRemote().sendString(text);
    }

    @Override public void send(byte[] bytes) throws Exception {
        session.getRemote().sendBytes(ByteBuffer.wrap(bytes.clone())); // it is masked in place
    }

    @Override public void close() {
        session.close(1000, null);
    }

    @Override public void onWebSocketConnect(Session session) {}

    @Override public void onWebSocketText(String text) {
        got.add(text);
    }

    @Override public void onWebSocketBinary(byte[] bytes, int offset, int length) {
        got.add(Arrays.copyOfRange(bytes, offset, offset + length));
    }

    @Override public void onWebSocketClose(int code, String reason) {
        got.add(Hello.END);
    }

    @Override public void onWebSocketError(Throwable error) {
        got.add(error);
    }
}
