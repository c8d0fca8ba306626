import java.net.URI;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * A client written with one of several libraries for Java: it sends a text and a binary message,
 * waits for their echoes and closes.
 *
 *     java Hello LIBRARY URL
 */
class Hello {
    /** A connection of some library. What comes is put into a queue: a String, byte[] or Throwable. */
    interface Connection {
        void send(String text) throws Exception;

        void send(byte[] bytes) throws Exception;

        /** Closes with status code 1000. */
        void close() throws Exception;
    }

    /** What a queue gets at the end. */
    static final Object END = "the end".toCharArray();

    private static Connection connect(String library, URI uri, LinkedBlockingQueue<Object> got) throws Exception {
        return switch (library) {
            case "http" -> new HelloHttp(uri, got);
            case "okhttp" -> new HelloOkHttp(uri, got);
            case "tomcat" -> new HelloTomcat(uri, got);
            case "jetty" -> new HelloJetty(uri, got);
            case "netty" -> new HelloNetty(uri, got);
            default -> throw new IllegalArgumentException(library);
        };
    }

    public static void main(String[] args) throws Exception {
        var got = new LinkedBlockingQueue<Object>();
        var c = connect(args[0], URI.create(args[1]), got);
        var text = "hello from " + args[0];
        c.send(text);
        if (!text.equals(next(got))) {
            throw new AssertionError("another text");
        }
        var bytes = new byte[16];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) i;
        }
        c.send(bytes);
        if (!(next(got) instanceof byte[] b && Arrays.equals(b, bytes))) {
            throw new AssertionError("other bytes");
        }
        c.close();
        if (next(got) != END) {
            throw new AssertionError("a message more");
        }
        System.exit(0); // in spite of the threads of libraries
    }

    private static Object next(LinkedBlockingQueue<Object> got) throws Exception {
        var next = got.poll(30, TimeUnit.SECONDS);
        if (next instanceof Throwable t) {
            throw new Exception(t);
        }
        return next;
    }

    static byte[] bytes(ByteBuffer data) {
        var b = new byte[data.remaining()];
        data.get(b);
        return b;
    }
}
