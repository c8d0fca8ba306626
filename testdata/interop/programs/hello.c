// A client written with libwebsockets: it sends a text and a binary message, waits for
// their echoes and closes.
//
//	hello URL
#include <libwebsockets.h>
#include <stdio.h>
#include <string.h>

static const char text[] = "hello from libwebsockets";
static unsigned char binary[16];
static int got;  // messages
static int ended;

static int send_message(struct lws *wsi)
{
	unsigned char buffer[LWS_PRE + 100];
	size_t n = got == 0 ? sizeof text - 1 : sizeof binary;

	memcpy(buffer + LWS_PRE, got == 0 ? (const void *)text : binary, n);
	return lws_write(wsi, buffer + LWS_PRE, n, got == 0 ? LWS_WRITE_TEXT : LWS_WRITE_BINARY) < (int)n ? -1 : 0;
}

static int on_message(struct lws *wsi, const void *in, size_t len)
{
	const void *want = got == 0 ? (const void *)text : binary;
	size_t n = got == 0 ? sizeof text - 1 : sizeof binary;

	if (len != n || memcmp(in, want, n) != 0 || lws_frame_is_binary(wsi) != (got == 1)) {
		fprintf(stderr, "another message\n");
		return -1;
	}
	if (++got == 2) {
		lws_close_reason(wsi, LWS_CLOSE_STATUS_NORMAL, NULL, 0);
		return -1;
	}
	lws_callback_on_writable(wsi);
	return 0;
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	switch (reason) {
	case LWS_CALLBACK_CLIENT_ESTABLISHED:
		lws_callback_on_writable(wsi);
		return 0;
	case LWS_CALLBACK_CLIENT_WRITEABLE:
		return got < 2 ? send_message(wsi) : 0; // then lws sends our Close
	case LWS_CALLBACK_CLIENT_RECEIVE:
		return on_message(wsi, in, len);
	case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
		fprintf(stderr, "%s\n", in ? (const char *)in : "no connection");
		ended = 1;
		return 0;
	case LWS_CALLBACK_CLIENT_CLOSED:
		ended = 1;
		return 0;
	default:
		return 0;
	}
}

int main(int argc, char **argv)
{
	static const struct lws_protocols protocols[] = {{"", on_event, 0, 0}, {NULL, NULL, 0, 0}};
	struct lws_context_creation_info info = {.port = CONTEXT_PORT_NO_LISTEN, .protocols = protocols, .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT};
	struct lws_client_connect_info to = {.pwsi = NULL};
	const char *scheme, *path;
	char origin[200];

	if (argc != 2 || lws_parse_uri(argv[1], &scheme, &to.address, &to.port, &path))
		return 2;
	for (int i = 0; i < 16; i++)
		binary[i] = i;
	lws_set_log_level(LLL_ERR | LLL_WARN, NULL);
	if (!(to.context = lws_create_context(&info)))
		return 2;
	snprintf(origin, sizeof origin, "%s:%d", to.address, to.port);
	to.path = "/";
	to.host = to.origin = origin;
	to.ssl_connection = strcmp(scheme, "wss") == 0 ? LCCSCF_USE_SSL : 0;
	if (!lws_client_connect_via_info(&to))
		return 1;
	while (!ended && lws_service(to.context, 0) >= 0)
		;
	lws_context_destroy(to.context);
	return got == 2 ? 0 : 1;
}
