// A client written with POCO: it sends a text and a binary message, waits for their
// echoes and closes.
//
//	poco URL
#include <Poco/Net/HTTPRequest.h>
#include <Poco/Net/HTTPResponse.h>
#include <Poco/Net/HTTPSClientSession.h>
#include <Poco/Net/WebSocket.h>
#include <Poco/URI.h>
#include <iostream>
#include <memory>
#include <string>

using namespace Poco::Net;

static void talk(HTTPClientSession &session)
{
	HTTPRequest request(HTTPRequest::HTTP_GET, "/", HTTPMessage::HTTP_1_1);
	HTTPResponse response;
	WebSocket ws(session, request, response);
	const std::string messages[] = {"hello from POCO", {"\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17", 16}};
	char buffer[100];
	int flags;

	for (auto &message : messages) {
		int frame = &message == messages ? WebSocket::FRAME_TEXT : WebSocket::FRAME_BINARY;
		ws.sendFrame(message.data(), message.size(), frame);
		int n = ws.receiveFrame(buffer, sizeof buffer, flags);
		if (std::string(buffer, n) != message || flags != frame)
			throw std::runtime_error("another message");
	}
	ws.shutdown();
	ws.receiveFrame(buffer, sizeof buffer, flags);
	if ((flags & WebSocket::FRAME_OP_BITMASK) != WebSocket::FRAME_OP_CLOSE)
		throw std::runtime_error("a message more");
}

int main(int argc, char **argv)
try {
	if (argc != 2)
		return 2;
	Poco::URI url(argv[1]);
	if (url.getScheme() == "ws") {
		HTTPClientSession session(url.getHost(), url.getPort());
		talk(session);
		return 0;
	}
	Context::Ptr tls = new Context(Context::TLS_CLIENT_USE, "", Context::VERIFY_STRICT, 9, true);
	HTTPSClientSession session(url.getHost(), url.getPort(), tls);
	talk(session);
	return 0;
} catch (Poco::Exception &e) {
	std::cerr << e.displayText() << "\n";
	return 1;
}
