import type { Marketplace } from '../api/client.js';

export interface MarketplaceWords {
  readonly name: string;
  readonly manageLabel: string;
  readonly openLabel: string;
  readonly manageUrl: string;
  /** How to come back here with a fresh token. Never the way of another marketplace: AWS forbids links to other clouds. */
  readonly reopen: readonly string[];
}

const words: Readonly<Record<Marketplace, MarketplaceWords>> = {
  azure: {
    name: 'Azure Marketplace',
    manageLabel: 'Manage in the Azure portal',
    openLabel: 'Open the Azure portal',
    manageUrl: 'https://portal.azure.com/#view/HubsExtension/BrowseResourceBlade/resourceType/Microsoft.SaaS%2Fsaasresources',
    reopen: [
      'Open the Azure portal and go to SaaS. If your organisation buys through Microsoft 365, open the Microsoft 365 admin centre and go to Your products instead.',
      'Open your subscription.',
      'Press “Configure account” (or “Manage account”). It brings you back here with a fresh link.',
    ],
  },
  gcp: {
    name: 'Google Cloud Marketplace',
    manageLabel: 'Manage in Google Cloud Marketplace',
    openLabel: 'Open Google Cloud Marketplace',
    manageUrl: 'https://console.cloud.google.com/marketplace/orders',
    reopen: [
      'Open the Google Cloud console, go to Marketplace and then to Your orders.',
      'Open your order and the product that belongs to it.',
      'Press “Register with …” or, if you registered before, “Manage on provider”. It brings you back here with a fresh link.',
    ],
  },
  aws: {
    name: 'AWS Marketplace',
    manageLabel: 'Manage in AWS Marketplace',
    openLabel: 'Open AWS Marketplace',
    manageUrl: 'https://console.aws.amazon.com/marketplace/home#/subscriptions',
    reopen: [
      'Open the AWS Marketplace console and go to Manage subscriptions.',
      'Choose your subscription.',
      'Press “Set up your account”. It brings you back here with a fresh link.',
    ],
  },
};

const unknownMarketplace = {
  name: 'the marketplace',
  reopen: [
    'Go back to the marketplace where you bought.',
    'Open your subscription or order.',
    'Press the button that sets up or manages the account with the provider. It brings you back here with a fresh link.',
  ],
};

export function marketplaceWords(marketplace: Marketplace): MarketplaceWords {
  return words[marketplace];
}

export function wordsForAny(marketplace: string | null | undefined): Pick<MarketplaceWords, 'name' | 'reopen'> & Partial<MarketplaceWords> {
  return marketplace && Object.hasOwn(words, marketplace) ? words[marketplace as Marketplace] : unknownMarketplace;
}
