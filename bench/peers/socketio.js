// socket.io on Node, its defaults but for WebSocket alone: a room of its own making, and a broadcast.
const { createServer } = require('node:http');
const { Server } = require('socket.io');

const http = createServer();
const server = new Server(http, { transports: ['websocket'], maxHttpBufferSize: 1 << 24 });

server.on('connection', (socket) => {
  const { room } = socket.handshake.query;
  socket.join(room);
  socket.on('m', (data) => socket.to(room).emit('m', data));
  socket.emit('hello');
});

http.listen({ host: '127.0.0.1', port: Number(process.argv[2]), backlog: 4096 });
