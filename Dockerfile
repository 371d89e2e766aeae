# One image for every role: the command says which (docker-compose.yml).
FROM node:20-slim AS build
WORKDIR /berth
COPY package.json package-lock.json .npmrc ./
RUN npm ci --include=dev
COPY . .
RUN npm run build
RUN npm prune --omit=dev && rm -rf .tmp test bench docs .ci scripts

FROM node:20-slim
ENV NODE_ENV=production BERTH_HOST=0.0.0.0 BERTH_DATA=/data
# Batches of usage live until their commit. In Node's 16 MB for young objects each is copied several times before it ends.
ENV NODE_OPTIONS=--max-semi-space-size=64
WORKDIR /berth
COPY --from=build /berth ./
RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 4000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:'+(process.env.PORT||4000)+'/healthz').then(r=>process.exit(r.ok?0:1),()=>process.exit(1))"]
ENTRYPOINT ["node"]
CMD ["dist/apps/control-plane/src/main.js", "--role", "all"]
