import { createTheme } from '@mantine/core';

export const theme = createTheme({
  primaryColor: 'harbour',
  // White on them is 6.9:1 and 5.3:1.
  primaryShade: { light: 8, dark: 7 },
  defaultRadius: 'sm',
  cursorType: 'pointer',
  respectReducedMotion: true,
  colors: {
    dark: ['#dbe2e8', '#b9c4cd', '#93a0ab', '#667583', '#3d4954', '#2e3942', '#232d35', '#12181d', '#0e1317', '#0a0e11'],
    harbour: ['#ecf6fc', '#d6eaf5', '#a9d4ec', '#7cbfe4', '#58acdc', '#3e9bd2', '#2687c0', '#1373a6', '#0b5c86', '#084a6d'],
  },
});
