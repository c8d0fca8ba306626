import io.netty.bootstrap.Bootstrap;
import io.netty.buffer.ByteBufUtil;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.SocketChannel;
import io.netty.channel.socket.nio.NioSocketChannel;
import io.netty.handler.codec.http.HttpClientCodec;
import io.netty.handler.codec.http.HttpObjectAggregator;
import io.netty.handler.codec.http.websocketx.BinaryWebSocketFrame;
import io.netty.handler.codec.http.websocketx.CloseWebSocketFrame;
import io.netty.handler.codec.http.websocketx.TextWebSocketFrame;
import io.netty.handler.codec.http.websocketx.WebSocketClientProtocolConfig;
import io.netty.handler.codec.http.websocketx.WebSocketClientProtocolHandler;
import io.netty.handler.codec.http.websocketx.WebSocketFrame;
import io.netty.handler.ssl.SslContext;
import io.netty.handler.ssl.SslContextBuilder;
import java.net.URI;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;

/** Hello with Netty. */
class HelloNetty extends SimpleChannelInboundHandler<WebSocketFrame> implements Hello.Connection {
    private final Queue<Object> got;
    private final CompletableFuture<Void> open = new CompletableFuture<>();
    private final Channel channel;

    HelloNetty(URI uri, Queue<Object> got) throws Exception {
        this.got = got;
        SslContext tls = uri.getScheme().equals("wss") ? SslContextBuilder.forClient().build() : null;
        var config = WebSocketClientProtocolConfig.newBuilder().webSocketUri(uri).handleCloseFrames(false).build();
        channel = new Bootstrap().group(new NioEventLoopGroup()).channel(NioSocketChannel.class)
            .handler(new ChannelInitializer<SocketChannel>() {
                @Override protected void initChannel(SocketChannel c) {
                    if (tls != null) {
                        c.pipeline().addLast(tls.newHandler(c.alloc(), uri.getHost(), uri.getPort()));
                    }
                    c.pipeline().addLast(new HttpClientCodec(), new HttpObjectAggregator(8192),
                        new WebSocketClientProtocolHandler(config), HelloNetty.this);
                }
            }).connect(uri.getHost(), uri.getPort()).sync().channel();
        open.get();
    }

    @Override public void send(String text) throws Exception {
        channel.writeAndFlush(new TextWebSocketFrame(text)).sync();
    }

    @Override public void send(byte[] bytes) throws Exception {
        channel.writeAndFlush(new BinaryWebSocketFrame(Unpooled.wrappedBuffer(bytes))).sync();
    }

    @Override public void close() throws Exception {
        channel.writeAndFlush(new CloseWebSocketFrame(1000, "")).sync();
    }

    @Override public void userEventTriggered(ChannelHandlerContext ctx, Object event) {
        if (event == WebSocketClientProtocolHandler.ClientHandshakeStateEvent.HANDSHAKE_COMPLETE) {
            open.complete(null);
        }
    }

    @Override protected void channelRead0(ChannelHandlerContext ctx, WebSocketFrame frame) {
        if (frame instanceof TextWebSocketFrame text) {
            got.add(text.text());
        } else if (frame instanceof CloseWebSocketFrame) {
            got.add(Hello.END);
        } else {
            got.add(ByteBufUtil.getBytes(frame.content()));
        }
    }

    @Override public void exceptionCaught(ChannelHandlerContext ctx, Throwable error) {
        open.completeExceptionally(error);
        got.add(error);
    }
}
