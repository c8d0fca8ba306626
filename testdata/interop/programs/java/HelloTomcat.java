import java.net.URI;
import java.nio.ByteBuffer;
import java.util.Queue;
import javax.websocket.ClientEndpointConfig;
import javax.websocket.CloseReason;
import javax.websocket.ContainerProvider;
import javax.websocket.Endpoint;
import javax.websocket.EndpointConfig;
import javax.websocket.Session;
import org.apache.tomcat.websocket.Constants;

/** Hello with the client of Tomcat. */
class HelloTomcat extends Endpoint implements Hello.Connection {
    private final Queue<Object> got;
    private final Session session;

    HelloTomcat(URI uri, Queue<Object> got) throws Exception {
        this.got = got;
        var config = ClientEndpointConfig.Builder.create().build();
        if (uri.getScheme().equals("wss")) {
            config.getUserProperties().put(Constants.SSL_CONTEXT_PROPERTY, javax.net.ssl.SSLContext.getDefault());
        }
        session = ContainerProvider.getWebSocketContainer().connectToServer(this, config, uri);
    }

    @Override public void send(String text) throws Exception {
        session.getBasicRemote().sendText(text);
    }

    @Override public void send(byte[] bytes) throws Exception {
        session.getBasicRemote().sendBinary(ByteBuffer.wrap(bytes));
    }

    @Override public void close() throws Exception {
        session.close(new CloseReason(CloseReason.CloseCodes.NORMAL_CLOSURE, ""));
    }

    @Override public void onOpen(Session session, EndpointConfig config) {
        session.addMessageHandler(String.class, got::add);
        session.addMessageHandler(byte[].class, got::add);
    }

    @Override public void onClose(Session session, CloseReason reason) {
        got.add(Hello.END);
    }

    @Override public void onError(Session session, Throwable error) {
        got.add(error);
    }
}
