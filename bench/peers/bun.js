// Bun's own WebSocket server and its native publish, speaking the protocol of bench/peers.
const backpressureLimit = 1 << 30;

Bun.serve({
  hostname: '127.0.0.1',
  port: Number(process.argv[2]),
  fetch(request, server) {
    const room = new URL(request.url).pathname;
    return server.upgrade(request, { data: { room } })
      ? undefined
      : new Response('', { status: 400 });
  },
  websocket: {
    perMessageDeflate: false,
    maxPayloadLength: 1 << 24,
    idleTimeout: 0,
    sendPings: false,
    backpressureLimit,
    closeOnBackpressureLimit: false,
    open(socket) {
      socket.subscribe(socket.data.room);
      socket.send('hello');
    },
    message(socket, message) {
      socket.publish(socket.data.room, message);
    },
  },
});
