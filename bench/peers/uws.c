/* uWebSockets and its native publish, speaking the protocol of bench/peers. Written against the C
 * interface inside the package `socketify`, so that no other language stands in the way:
 *   cc -O2 uws.c -o uws <folder of socketify>/libsocketify_linux_amd64.so
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct app app;
typedef struct response response;
typedef struct request request;
typedef struct context context;
typedef struct socket socket_t;

/* The layouts below are those of the interface. */
struct ssl_options {
  const char *key, *cert, *passphrase, *dh_params, *ca, *ciphers;
  int low_memory;
};

struct listen_options {
  int port;
  const char *host;
  int options;
};

typedef void (*on_socket)(socket_t *, void *);
typedef void (*on_message)(socket_t *, const char *, size_t, int opcode, void *);
typedef void (*on_ping)(socket_t *, const char *, size_t, void *);
typedef void (*on_close)(socket_t *, int code, const char *, size_t, void *);
typedef void (*on_upgrade)(response *, request *, context *, void *);
typedef void (*on_subscription)(socket_t *, const char *, size_t, int, int, void *);

struct behavior {
  int compression;
  unsigned max_payload_length;
  unsigned short idle_timeout;
  unsigned max_backpressure;
  bool close_on_backpressure_limit;
  bool reset_idle_timeout_on_send;
  bool send_pings_automatically;
  unsigned short max_lifetime;
  on_upgrade upgrade;
  on_socket open;
  on_message message;
  on_socket drain;
  on_ping ping, pong;
  on_close close;
  on_subscription subscription;
};

app *uws_create_app(int ssl, struct ssl_options);
void uws_ws(int ssl, app *, const char *pattern, struct behavior, void *);
void uws_app_listen_with_config(int ssl, app *, struct listen_options, void (*)(void *, ...), void *);
void uws_app_run(int ssl, app *);
size_t uws_req_get_url(request *, const char **);
size_t uws_req_get_header(request *, const char *name, size_t, const char **);
void uws_res_upgrade(int ssl, response *, void *data, const char *key, size_t, const char *protocol,
                     size_t, const char *extensions, size_t, context *);
void *uws_ws_get_user_data(int ssl, socket_t *);
bool uws_ws_subscribe(int ssl, socket_t *, const char *, size_t);
bool uws_ws_publish_with_options(int ssl, socket_t *, const char *topic, size_t, const char *, size_t,
                                 int opcode, bool compress);
int uws_ws_send(int ssl, socket_t *, const char *, size_t, int opcode);

static void upgrade(response *res, request *req, context *ctx, void *_) {
  const char *url, *key, *protocol, *extensions;
  size_t url_len = uws_req_get_url(req, &url);
  size_t key_len = uws_req_get_header(req, "sec-websocket-key", 17, &key);
  size_t protocol_len = uws_req_get_header(req, "sec-websocket-protocol", 22, &protocol);
  size_t extensions_len = uws_req_get_header(req, "sec-websocket-extensions", 24, &extensions);
  uws_res_upgrade(0, res, strndup(url, url_len), key, key_len, protocol, protocol_len, extensions,
                  extensions_len, ctx);
}

static void opened(socket_t *ws, void *_) {
  const char *room = uws_ws_get_user_data(0, ws);
  uws_ws_subscribe(0, ws, room, strlen(room));
  uws_ws_send(0, ws, "hello", 5, 1);
}

static void message(socket_t *ws, const char *data, size_t len, int opcode, void *_) {
  const char *room = uws_ws_get_user_data(0, ws);
  uws_ws_publish_with_options(0, ws, room, strlen(room), data, len, opcode, false);
}

static void closed(socket_t *ws, int code, const char *reason, size_t len, void *_) {
  free(uws_ws_get_user_data(0, ws));
}

static void listening(void *socket, ...) {
  if (!socket) exit(1);
}

int main(int argc, char **argv) {
  struct ssl_options none = {0};
  struct behavior behavior = {.max_payload_length = 1 << 24,
                              .max_backpressure = 1 << 30,
                              .upgrade = upgrade,
                              .open = opened,
                              .message = message,
                              .close = closed};
  app *server = uws_create_app(0, none);
  uws_ws(0, server, "/*", behavior, NULL);
  struct listen_options where = {.port = atoi(argv[argc - 1]), .host = "127.0.0.1"};
  uws_app_listen_with_config(0, server, where, listening, NULL);
  uws_app_run(0, server);
  return 1;
}
