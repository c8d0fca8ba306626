// A client written with websocketpp: it sends a text and a binary message, waits for
// their echoes and closes.
//
//	websocketpp URL
#include <iostream>
#include <string>
#include <websocketpp/client.hpp>
#include <websocketpp/config/asio_client.hpp>

namespace asio = boost::asio;
namespace opcode = websocketpp::frame::opcode;

template <typename Client>
int talk(Client &client, const std::string &url)
{
	const std::string text = "hello from websocketpp", binary("\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17", 16);
	int got = 0, code = 0;
	websocketpp::lib::error_code err;

	client.clear_access_channels(websocketpp::log::alevel::all);
	client.init_asio();
	client.set_open_handler([&](websocketpp::connection_hdl to) { client.send(to, text, opcode::text); });
	client.set_message_handler([&](websocketpp::connection_hdl to, typename Client::message_ptr message) {
		if (message->get_payload() != (got == 0 ? text : binary))
			throw std::runtime_error("another message");
		if (++got == 1)
			client.send(to, binary, opcode::binary);
		else
			client.close(to, websocketpp::close::status::normal, "");
	});
	client.set_close_handler([&](websocketpp::connection_hdl from) {
		code = client.get_con_from_hdl(from)->get_remote_close_code();
	});
	client.set_fail_handler([&](websocketpp::connection_hdl from) {
		std::cerr << client.get_con_from_hdl(from)->get_ec().message() << "\n";
	});
	auto connection = client.get_connection(url, err);
	if (err)
		throw std::runtime_error(err.message());
	client.connect(connection);
	client.run();
	return got == 2 && code == websocketpp::close::status::normal ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	std::string url = argv[1];
	if (url.rfind("wss:", 0) != 0) {
		websocketpp::client<websocketpp::config::asio_client> client;
		return talk(client, url);
	}
	websocketpp::client<websocketpp::config::asio_tls_client> client;
	client.set_tls_init_handler([](websocketpp::connection_hdl) {
		auto context = websocketpp::lib::make_shared<asio::ssl::context>(asio::ssl::context::tls_client);
		context->set_default_verify_paths();
		context->set_verify_mode(asio::ssl::verify_peer);
		return context;
	});
	return talk(client, url);
}
