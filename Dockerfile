# Built by BuildKit (`docker build` since Docker 23; DOCKER_BUILDKIT=1 before).
FROM node:24-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json ./
# Where npm needs a registry, a login or a CA of your own: --secret id=npmrc,src=$HOME/.npmrc (it enters no layer).
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
RUN node node_modules/typescript/bin/tsc -p tsconfig.build.json && npm prune --omit=dev --ignore-scripts --no-fund

FROM node:24-bookworm-slim
# What HEALTHCHECK asks. With a `listen` or `tls` of your own, name it here (docker run --env) too.
ENV NODE_ENV=production ENTREPOT_READY_URL=http://127.0.0.1:5000/readyz
WORKDIR /app
COPY --from=build /src/node_modules ./node_modules
COPY --from=build /src/dist ./dist
# The user must be able to read them, however strict the umask of the checkout.
COPY --chmod=644 package.json LICENSE ./
# Relative to /app, as the embedded defaults say; owned by the user so that a fresh volume is writable.
RUN mkdir storage && chown node:node storage
USER node
# Everything that is written goes here, so the root filesystem may be read-only.
VOLUME ["/app/storage"]
EXPOSE 5000
# A stop takes up to server.drainDelay (0 s) and server.drainTimeout (25 s): give it docker run --stop-timeout 30, since Docker kills after 10.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["node", "-e", "fetch(process.env.ENTREPOT_READY_URL).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# Node runs as PID 1: it handles SIGTERM and SIGINT itself, and starts no child processes to reap.
# A small young generation: under load V8 would let it grow to 128 MiB for no gain.
ENTRYPOINT ["node", "--max-semi-space-size=4", "dist/main.js"]
CMD ["serve"]
