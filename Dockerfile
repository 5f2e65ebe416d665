# The service in a container: docker build -t llm-manager . && docker run --init -p 127.0.0.1:4747:4747 -v llm-manager:/data llm-manager
# Written for every builder, also the one without BuildKit.
ARG BASE_IMAGE=node:24-bookworm-slim

FROM ${BASE_IMAGE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev && npm cache clean --force
COPY src/infrastructure/database/postgres-binaries.ts ./src/infrastructure/database/
COPY scripts/prepare-image.ts ./scripts/
# The engines to keep beside the one for processors: cuda, vulkan (they weigh 540 and 70 MB).
ARG ENGINES=""
RUN node --disable-warning=ExperimentalWarning scripts/prepare-image.ts ${ENGINES}

FROM ${BASE_IMAGE}
ENV NODE_ENV=production \
    LLM_MANAGER_HOST=0.0.0.0 \
    LLM_MANAGER_DATA_DIR=/data \
    LLM_MANAGER_MODELS_DIR=/data/models \
    HF_HOME=/data/huggingface
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json ./
COPY bin ./bin
COPY schema ./schema
COPY migrations ./migrations
COPY src ./src
RUN ln -s /app/bin/llm-manager.js /usr/local/bin/llm-manager && mkdir /data && chown node:node /data && chmod 0700 /data
USER node
VOLUME ["/data"]
EXPOSE 4747
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.LLM_MANAGER_PORT || 4747}/ready`).then((answer) => process.exit(answer.status === 200 ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "--disable-warning=ExperimentalWarning", "/app/src/main.ts"]
CMD ["serve"]
