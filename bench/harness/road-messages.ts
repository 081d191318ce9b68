/** The one argument, as JSON. */
export type RoadCommand = RoadOptions & { port: number; upstream: string };
/** What blobs suffer between an upstream and a cache. Bytes are those of bodies. */
export type RoadOptions = {
  /** What each connection carries. */
  bytesPerSecond?: number;
  /** What all connections carry together. */
  totalBytesPerSecond?: number;
  /** The connection of an answer is closed after so many bytes of it. */
  cutEvery?: number;
};

/** What went over a road since the last question: GET requests of blobs, their bytes, and how many were cut. */
export type RoadTraffic = { requests: number; blobBytes: number; cuts: number };
