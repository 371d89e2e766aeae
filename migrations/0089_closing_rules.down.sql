alter table closing_steps drop column rules;
