import { Column, Entity, PrimaryColumn, VersionColumn } from 'typeorm';
import type { Marketplace, MarketplaceRefs, SubscriptionState, SubscriptionTruth } from '#marketplaces/core';

/** One row of `subscriptions`. Whoever changes it holds its row lock; `version` counts the changes. */
@Entity({ name: 'subscriptions' })
export class SubscriptionRecord {
  @PrimaryColumn({ name: 'subscription_id', type: 'uuid' }) subscriptionId!: string;
  @Column({ type: 'text' }) marketplace!: Marketplace;
  @Column({ name: 'external_subscription_id', type: 'text' }) externalSubscriptionId!: string;
  @Column({ name: 'tenant_id', type: 'uuid', nullable: true }) tenantId!: string | null;
  @Column({ name: 'buyer_account_id', type: 'text', nullable: true }) buyerAccountId!: string | null;
  @Column({ type: 'text' }) state!: SubscriptionState;
  @Column({ name: 'suspended_source', type: 'text', nullable: true }) suspendedSource!: string | null;
  /** By the marketplace; null where it is not, or a service check holds it. */
  @Column({ name: 'suspended_at', type: 'timestamptz', nullable: true }) suspendedAt!: Date | null;
  @Column({ type: 'text', nullable: true }) name!: string | null;
  @Column({ name: 'plan_version_id', type: 'uuid', nullable: true }) planVersionId!: string | null;
  @Column({ name: 'external_offer_id', type: 'text' }) externalOfferId!: string;
  @Column({ name: 'external_plan_id', type: 'text' }) externalPlanId!: string;
  @Column({ type: 'int', nullable: true }) quantity!: number | null;
  @Column({ name: 'term_starts_at', type: 'timestamptz', nullable: true }) termStartsAt!: Date | null;
  @Column({ name: 'term_ends_at', type: 'timestamptz', nullable: true }) termEndsAt!: Date | null;
  @Column({ name: 'term_unit', type: 'text', nullable: true }) termUnit!: string | null;
  @Column({ name: 'ends_at', type: 'timestamptz', nullable: true }) endsAt!: Date | null;
  @Column({ name: 'ended_at', type: 'timestamptz', nullable: true }) endedAt!: Date | null;
  @Column({ name: 'activate_by', type: 'timestamptz', nullable: true }) activateBy!: Date | null;
  @Column({ name: 'acknowledged_at', type: 'timestamptz', nullable: true }) acknowledgedAt!: Date | null;
  @Column({ type: 'jsonb' }) truth!: SubscriptionTruth;
  @Column({ name: 'truth_version', type: 'text', nullable: true }) truthVersion!: string | null;
  @Column({ name: 'marketplace_refs', type: 'jsonb' }) marketplaceRefs!: MarketplaceRefs;
  @Column({ name: 'last_occurred_at', type: 'timestamptz', nullable: true }) lastOccurredAt!: Date | null;
  @Column({ name: 'is_test', type: 'boolean' }) isTest!: boolean;
  @Column({ name: 'superseded_by', type: 'uuid', nullable: true }) supersededBy!: string | null;
  @Column({ name: 'data_deletion_due_at', type: 'timestamptz', nullable: true }) dataDeletionDueAt!: Date | null;
  @Column({ name: 'erased_at', type: 'timestamptz', nullable: true }) erasedAt!: Date | null;
  @VersionColumn({ type: 'int' }) version!: number;
  @Column({ name: 'created_at', type: 'timestamptz' }) createdAt!: Date;
  @Column({ name: 'updated_at', type: 'timestamptz' }) updatedAt!: Date;
}
