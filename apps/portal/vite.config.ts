import { fileURLToPath } from 'node:url';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

// The control plane serves `dist/portal/index.html` for every page of the portal and `dist/portal/*` under `/portal-assets/`.
export default defineConfig({
  root: here('.'),
  base: '/portal-assets/',
  plugins: [react()],
  build: {
    outDir: here('../../dist/portal'),
    emptyOutDir: true,
    // Under `default-src 'self'` a browser refuses data: URLs.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: 'es2022',
  },
});
