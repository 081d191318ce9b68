import { createConnection } from 'node:net';

/** Sends a request line as it is and returns the whole answer. */
export function raw(host: string, line: string): Promise<string> {
  const [hostname = '', port] = host.split(':');
  return new Promise((resolve) => {
    let received = '';
    const socket = createConnection(Number(port), hostname, () => {
      socket.write(`${line}\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    });
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1');
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(received));
  });
}
