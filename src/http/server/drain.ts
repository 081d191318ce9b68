import type { Server } from 'node:http';
import type { Server as TlsServer } from 'node:https';

/** Closes each connection as its answer ends once the server is closing: a kept one would hold {@link drain} up. */
export function releaseWhenClosing(server: Server | TlsServer): void {
  server.on('request', (_, outgoing) => {
    // An answer that began before has promised to keep its connection.
    outgoing.once('close', () => {
      if (!server.listening) setImmediate(() => server.closeIdleConnections());
    });
  });
}

/**
 * Takes no new connections, lets requests under way end, then cuts them off; nothing happens when it does not listen.
 * @param patience milliseconds that requests under way get
 */
export async function drain(server: Server | TlsServer, patience: number): Promise<void> {
  if (!server.listening) return;
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), patience);
  await closed;
  clearTimeout(timer);
}
