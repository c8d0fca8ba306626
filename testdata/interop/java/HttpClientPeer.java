import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.cert.CertificateFactory;
import java.util.HexFormat;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** A client with java.net.http. Jobs come as JSON lines on stdin, reports go to stdout. See peer_test.go. */
class HttpClientPeer implements WebSocket.Listener {
    private static final Pattern MESSAGE = Pattern.compile("\\{\"type\":\"(\\w+)\",\"len\":(\\d+)}");

    public static void main(String[] args) throws Exception {
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String job; (job = in.readLine()) != null; ) {
            var peer = new HttpClientPeer(string(job, "id"));
            try {
                peer.run(job);
                peer.report("done", "");
            } catch (Exception e) {
                peer.report("done", "\"error\":" + quote(e.toString()));
            }
        }
        System.exit(0);
    }

    private static final Object END = new Object();

    private final String id;
    private final LinkedBlockingQueue<Object> got = new LinkedBlockingQueue<>(); // String, byte[], Throwable, END
    private final StringBuilder text = new StringBuilder();
    private final ByteArrayOutputStream binary = new ByteArrayOutputStream();

    HttpClientPeer(String id) {
        this.id = id;
    }

    void run(String job) throws Exception {
        var builder = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1);
        String proxy = string(job, "proxy");
        if (!proxy.isEmpty()) {
            String[] parts = proxy.split(":");
            builder.proxy(ProxySelector.of(new InetSocketAddress(parts[0], Integer.parseInt(parts[1]))));
        }
        if (!string(job, "ca").isEmpty()) {
            builder.sslContext(trust(string(job, "ca")));
        }
        WebSocket ws = builder.build().newWebSocketBuilder().buildAsync(URI.create(string(job, "url")), this).get();
        String rounds = job.substring(job.indexOf("\"rounds\":[[") + "\"rounds\":[".length());
        for (String round : rounds.split("],\\[")) {
            int echoes = 0;
            for (var m = MESSAGE.matcher(round); m.find(); ) {
                int n = Integer.parseInt(m.group(2));
                switch (m.group(1)) {
                    case "ping" -> {
                        report("sent", control("ping", new String(bytes(n), StandardCharsets.ISO_8859_1)));
                        ws.sendPing(ByteBuffer.wrap(bytes(n))).get();
                    }
                    case "text" -> {
                        String s = "é".repeat(n / 2) + "x".repeat(n % 2);
                        report("sent", message("text", s.getBytes(StandardCharsets.UTF_8)));
                        ws.sendText(s, true).get();
                        echoes++;
                    }
                    default -> {
                        report("sent", message("binary", bytes(n)));
                        ws.sendBinary(ByteBuffer.wrap(bytes(n)), true).get();
                        echoes++;
                    }
                }
            }
            for (; echoes > 0; echoes--) {
                Object o = next();
                if (o instanceof String s) {
                    report("got", message("text", s.getBytes(StandardCharsets.UTF_8)));
                } else if (o instanceof byte[] b) {
                    report("got", message("binary", b));
                } else {
                    throw new IllegalStateException("got " + o);
                }
            }
        }
        report("sent", control("close", "1000 bye"));
        ws.sendClose(1000, "bye").get();
        if (next() != END) {
            throw new IllegalStateException("got more than was sent");
        }
    }

    private static byte[] bytes(int n) {
        byte[] b = new byte[n];
        for (int i = 0; i < n; i++) {
            b[i] = (byte) (i * 7 + (i >> 8));
        }
        return b;
    }

    private Object next() throws Exception {
        Object o = got.poll(60, TimeUnit.SECONDS);
        if (o instanceof Throwable e) {
            throw new Exception(e);
        }
        return o;
    }

    private static SSLContext trust(String file) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null);
        try (var in = new FileInputStream(file)) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        var factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, factory.getTrustManagers(), null);
        return context;
    }

    @Override public CompletionStage<?> onText(WebSocket ws, CharSequence data, boolean last) {
        text.append(data);
        if (last) {
            got.add(text.toString());
            text.setLength(0);
        }
        ws.request(1);
        return null;
    }

    @Override public CompletionStage<?> onBinary(WebSocket ws, ByteBuffer data, boolean last) {
        byte[] b = new byte[data.remaining()];
        data.get(b);
        binary.writeBytes(b);
        if (last) {
            got.add(binary.toByteArray());
            binary.reset();
        }
        ws.request(1);
        return null;
    }

    @Override public CompletionStage<?> onPong(WebSocket ws, ByteBuffer data) {
        report("got", control("pong", StandardCharsets.ISO_8859_1.decode(data).toString()));
        ws.request(1);
        return null;
    }

    @Override public CompletionStage<?> onClose(WebSocket ws, int code, String reason) {
        report("got", control("close", code + " " + reason));
        got.add(END);
        return CompletableFuture.completedFuture(null);
    }

    @Override public void onError(WebSocket ws, Throwable error) {
        got.add(error);
    }

    private static String message(String type, byte[] p) {
        try {
            String sum = HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(p), 0, 8);
            return "\"type\":\"%s\",\"len\":%d,\"sum\":\"%s\"".formatted(type, p.length, sum);
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }

    private static String control(String type, String text) {
        return "\"type\":\"%s\",\"text\":%s".formatted(type, quote(text));
    }

    private synchronized void report(String did, String more) {
        System.out.println("{\"id\":\"%s\",\"did\":\"%s\"%s}".formatted(id, did, more.isEmpty() ? "" : "," + more));
    }

    private static String quote(String s) {
        var quoted = new StringBuilder("\"");
        for (char c : s.toCharArray()) {
            quoted.append(c < ' ' || c == '"' || c == '\\' ? "\\u%04x".formatted((int) c) : String.valueOf(c));
        }
        return quoted.append('"').toString();
    }

    /** The value of a key in a line of JSON that has no escapes. */
    private static String string(String json, String key) {
        var m = Pattern.compile("\"" + key + "\":\"([^\"]*)\"").matcher(json);
        return m.find() ? m.group(1) : "";
    }
}
