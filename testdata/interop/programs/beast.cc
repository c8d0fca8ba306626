// A client written with Boost.Beast: it sends a text and a binary message, waits for
// their echoes and closes.
//
//	beast URL
#include <boost/asio/connect.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/ssl.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <iostream>
#include <string>

namespace asio = boost::asio;
namespace beast = boost::beast;

template <typename Stream>
void talk(Stream &ws, const std::string &authority)
{
	const std::string messages[] = {"hello from Beast", {"\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17", 16}};

	ws.handshake(authority, "/");
	for (auto &message : messages) {
		ws.binary(&message != messages);
		ws.write(asio::buffer(message));
		beast::flat_buffer buffer;
		ws.read(buffer);
		if (beast::buffers_to_string(buffer.data()) != message || ws.got_text() != (&message == messages))
			throw std::runtime_error("another message");
	}
	ws.close(beast::websocket::close_code::normal);
}

int main(int argc, char **argv)
try {
	if (argc != 2)
		return 2;
	std::string url = argv[1];
	auto host = url.find("://") + 3, colon = url.find(':', host), slash = url.find('/', host);
	std::string name = url.substr(host, colon - host), port = url.substr(colon + 1, slash - colon - 1);

	asio::io_context io;
	auto at = asio::ip::tcp::resolver(io).resolve(name, port);
	if (url.rfind("wss:", 0) != 0) {
		beast::websocket::stream<asio::ip::tcp::socket> ws(io);
		asio::connect(ws.next_layer(), at);
		talk(ws, name + ":" + port);
		return 0;
	}
	asio::ssl::context tls(asio::ssl::context::tls_client);
	tls.set_default_verify_paths();
	tls.set_verify_mode(asio::ssl::verify_peer);
	beast::websocket::stream<asio::ssl::stream<asio::ip::tcp::socket>> ws(io, tls);
	asio::connect(beast::get_lowest_layer(ws), at);
	SSL_set_tlsext_host_name(ws.next_layer().native_handle(), name.c_str());
	ws.next_layer().set_verify_callback(asio::ssl::host_name_verification(name));
	ws.next_layer().handshake(asio::ssl::stream_base::client);
	talk(ws, name + ":" + port);
	return 0;
} catch (std::exception &e) {
	std::cerr << e.what() << "\n";
	return 1;
}
