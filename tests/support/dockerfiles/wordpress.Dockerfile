FROM busybox
RUN mkdir -p /var/www/html && chown -R www-data:www-data /var/www && chmod 2775 /var/www/html
VOLUME /var/www/html
COPY --chown=www-data:www-data html /usr/src/wordpress
RUN find /usr/src/wordpress -type d -exec chmod g+s '{}' + && chmod -R g+w /usr/src/wordpress
COPY --chown=33:33 html/index.html /usr/src/wordpress/config.php
WORKDIR /var/www/html
COPY entrypoint.sh /usr/local/bin/
ENTRYPOINT ["entrypoint.sh"]
CMD ["apache2-foreground"]
