// The `ws` package on Node: a set of sockets per room and a send to each.
const { WebSocketServer } = require('ws');

const rooms = new Map();
const server = new WebSocketServer({
  host: '127.0.0.1',
  port: Number(process.argv[2]),
  perMessageDeflate: false,
  maxPayload: 1 << 24,
  backlog: 4096,
});

server.on('connection', (socket, request) => {
  const room = rooms.get(request.url) ?? new Set();
  rooms.set(request.url, room.add(socket));
  socket.on('message', (data) => {
    for (const other of room) {
      if (other !== socket) other.send(data, { binary: true });
    }
  });
  socket.on('close', () => room.delete(socket));
  socket.on('error', () => room.delete(socket));
  socket.send('hello');
});
