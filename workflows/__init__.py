"""The service desk's workflows: agent runs composed into a business process."""
