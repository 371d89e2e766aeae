# One cell of this machine. Needs the built-in provider only; how cells are made is the affair of the program that
# BERTH_CELLS names in the environment. No path stands in the state: a cell outlives the release that made it.
terraform {
  required_version = ">= 1.4"
  backend "http" {}
}

variable "cluster" { type = string }
variable "region" { type = string }
variable "shape" { type = string }
variable "nodes" { type = number }
variable "software_version" {
  type    = string
  default = null
}
variable "capacity_bytes" {
  type    = string
  default = null
}
variable "labels" {
  type    = map(string)
  default = {}
}

locals {
  spec = {
    region        = var.region
    shape         = var.shape
    nodes         = var.nodes
    version       = var.software_version
    capacityBytes = var.capacity_bytes
    labels        = var.labels
  }
}

# Holds the data. Another region is another disk: the data does not move with it. It has no provisioner of its creation, so it is
# never tainted, and a node that stands in the state may hold data.
resource "terraform_data" "node" {
  for_each         = toset([var.cluster])
  input            = { cluster = each.key }
  triggers_replace = [var.region]

  provisioner "local-exec" {
    when        = destroy
    command     = "\"$BERTH_NODE\" \"$BERTH_CELLS\" remove --root \"$BERTH_CELLS_ROOT\" --cluster \"$CLUSTER\" --token \"$BERTH_FENCING_TOKEN\""
    environment = { CLUSTER = self.input.cluster }
  }
}

# How it is to be. Replaced at each change, which destroys nothing: the program ensures.
resource "terraform_data" "settings" {
  triggers_replace = [terraform_data.node[var.cluster].id, local.spec]

  provisioner "local-exec" {
    command     = "\"$BERTH_NODE\" \"$BERTH_CELLS\" ensure --root \"$BERTH_CELLS_ROOT\" --cluster \"$CLUSTER\" --spec \"$SPEC\" --token \"$BERTH_FENCING_TOKEN\" --max-cells \"$BERTH_CELLS_MOST\""
    environment = { CLUSTER = var.cluster, SPEC = jsonencode(local.spec) }
  }
}
