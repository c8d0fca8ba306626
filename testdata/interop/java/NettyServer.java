import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.ByteBufUtil;
import io.netty.channel.Channel;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.codec.http.HttpObjectAggregator;
import io.netty.handler.codec.http.HttpServerCodec;
import io.netty.handler.codec.http.QueryStringDecoder;
import io.netty.handler.codec.http.websocketx.CloseWebSocketFrame;
import io.netty.handler.codec.http.websocketx.TextWebSocketFrame;
import io.netty.handler.codec.http.websocketx.WebSocketFrame;
import io.netty.handler.codec.http.websocketx.WebSocketFrameAggregator;
import io.netty.handler.codec.http.websocketx.WebSocketServerProtocolConfig;
import io.netty.handler.codec.http.websocketx.WebSocketServerProtocolHandler;
import io.netty.handler.codec.http.websocketx.extensions.WebSocketServerExtensionHandler;
import io.netty.handler.codec.http.websocketx.extensions.compression.PerMessageDeflateServerExtensionHandshaker;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.security.MessageDigest;

/** Echoes messages, and reports them as JSON lines on stdout. See peer_test.go. */
class NettyServer {
    static final int MAX = 32 << 20;

    public static void main(String[] args) throws Exception {
        var group = new NioEventLoopGroup(1);
        var config = WebSocketServerProtocolConfig.newBuilder()
                .websocketPath("/echo").checkStartsWith(true)
                .allowExtensions(true)
                .maxFramePayloadLength(MAX)
                .handleCloseFrames(false)
                .build();
        Channel server = new ServerBootstrap().group(group).channel(NioServerSocketChannel.class)
                .childHandler(new ChannelInitializer<Channel>() {
                    @Override protected void initChannel(Channel c) {
                        c.pipeline().addLast(
                                new HttpServerCodec(), new HttpObjectAggregator(1 << 16),
                                // Gorilla insists on messages that stand alone, both ways.
                                new WebSocketServerExtensionHandler(
                                        new PerMessageDeflateServerExtensionHandshaker(6, false, 15, true, true)),
                                new WebSocketServerProtocolHandler(config),
                                new WebSocketFrameAggregator(MAX),
                                new Echo());
                    }
                })
                .bind(InetAddress.getLoopbackAddress(), 0).sync().channel();
        int port = ((InetSocketAddress) server.localAddress()).getPort();
        System.out.printf("{\"ready\":\"127.0.0.1:%d\"}%n", port);
        System.in.readAllBytes();
        System.exit(0);
    }

    static class Echo extends SimpleChannelInboundHandler<WebSocketFrame> {
        private String id;

        @Override public void userEventTriggered(ChannelHandlerContext ctx, Object event) {
            if (event instanceof WebSocketServerProtocolHandler.HandshakeComplete h) {
                id = new QueryStringDecoder(h.requestUri()).parameters().get("id").get(0);
            }
        }

        @Override protected void channelRead0(ChannelHandlerContext ctx, WebSocketFrame f) throws Exception {
            if (f instanceof CloseWebSocketFrame close) {
                String text = close.statusCode() + " " + close.reasonText();
                control("got", text);
                control("sent", text);
                ctx.writeAndFlush(close.retain()).addListener(ChannelFutureListener.CLOSE);
                done("");
                return;
            }
            String type = f instanceof TextWebSocketFrame ? "text" : "binary";
            byte[] p = ByteBufUtil.getBytes(f.content());
            byte[] sum = MessageDigest.getInstance("SHA-256").digest(p);
            for (String did : new String[] {"got", "sent"}) {
                System.out.printf("{\"id\":\"%s\",\"did\":\"%s\",\"type\":\"%s\",\"len\":%d,\"sum\":\"%s\"}%n",
                        id, did, type, p.length, ByteBufUtil.hexDump(sum, 0, 8));
            }
            ctx.writeAndFlush(f.retain());
        }

        @Override public void exceptionCaught(ChannelHandlerContext ctx, Throwable cause) {
            done(cause.toString().replace('"', '\'').replace('\\', '/'));
            ctx.close();
        }

        private void control(String did, String text) {
            System.out.printf("{\"id\":\"%s\",\"did\":\"%s\",\"type\":\"close\",\"text\":\"%s\"}%n", id, did, text);
        }

        private void done(String error) {
            System.out.printf("{\"id\":\"%s\",\"did\":\"done\",\"error\":\"%s\"}%n", id, error);
        }
    }
}
