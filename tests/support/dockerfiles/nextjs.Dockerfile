FROM busybox AS base
FROM base AS deps
WORKDIR /app
COPY package.json package-lock.json* yarn.lock* ./
RUN mkdir node_modules && cat package*.json > node_modules/all
FROM base AS builder
WORKDIR /app
COPY --from=deps /app/node_modules ./node_modules
COPY . .
RUN mkdir -p .next/standalone .next/static && cp node_modules/all .next/standalone/server.js && echo s > .next/static/s
FROM base AS runner
WORKDIR /app
ENV NODE_ENV=production
RUN echo 'nodejs:x:1001:' >> /etc/group && echo 'nextjs:x:1001:1001::/:/bin/false' >> /etc/passwd
COPY --from=builder /app/html ./public
RUN mkdir .next
RUN chown nextjs:nodejs .next
COPY --from=builder --chown=nextjs:nodejs /app/.next/standalone ./
COPY --from=builder --chown=nextjs:nodejs /app/.next/static ./.next/static
USER nextjs
EXPOSE 3000
ENV PORT=3000 HOSTNAME="0.0.0.0"
CMD ["node", "server.js"]
